"""A service whose handler has an effect in the database, that can be counted.

EFFECTS_SERVICE names it. Run by `celery -A tests.support.effects worker`.
"""

import os
import zlib
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from messaging import Envelope, RetryPolicy, ServiceCommunicator  # noqa: E402
from messaging.clock import SYSTEM_CLOCK  # noqa: E402

communicator = ServiceCommunicator(os.environ["EFFECTS_SERVICE"], version="1")


def count(message: Envelope, service: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO effect (message_id, service, number) VALUES (%s, %s, %s)",
            [message.id, service, message.attempt],
        )


@communicator.on_message("count", atomic=True)
@communicator.on_message("happened.#", atomic=True)
def count_once(data: Any, message: Envelope) -> None:
    """The effect and the record of it, in one transaction."""
    count(message, communicator.name)
    SYSTEM_CLOCK.sleep(data.get("seconds", 0))


@communicator.on_message(
    "count.sixth", atomic=True, retry=RetryPolicy(immediate=2, delayed=5, base_seconds=1.0)
)
def count_at_the_sixth_attempt(_data: Any, message: Envelope) -> None:
    count(message, communicator.name)
    if message.attempt < 6:
        raise ValueError("not yet")


@communicator.on_message(
    "note.in.order",
    atomic=True,
    retry=RetryPolicy(immediate=1, delayed=9, base_seconds=0.2, floor_seconds=0.1),
)
def note_in_order(data: Any, message: Envelope) -> None:
    """Fails at the first attempts of one message in twenty, before its effect or after it."""
    key, number = data
    attempts_in_vain = number % 3 + 1 if zlib.crc32(message.id.encode()) % 20 == 0 else 0
    if message.attempt < attempts_in_vain:
        raise ValueError("not yet")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO effect (message_id, service, number) VALUES (%s, %s, %s)",
            [message.id, key, number],
        )
    if message.attempt == attempts_in_vain:
        raise ValueError("not yet, and nothing of it stays")


@communicator.on_message("fail.always", retry=RetryPolicy(immediate=1, delayed=1, base_seconds=1))
def fail_always(_data: Any) -> None:
    raise ValueError("as always")


@communicator.on_message("fragile", atomic=True, retry=RetryPolicy(immediate=1, delayed=0))
def fail_while_broken(_data: Any, message: Envelope) -> None:
    if (settings.VAR_DIR / "fault").exists():
        raise ValueError("broken")
    count(message, communicator.name)


@communicator.on_message("kill")
def kill_the_process(_data: Any) -> None:
    os.kill(os.getpid(), 9)


app = communicator.celery_app
