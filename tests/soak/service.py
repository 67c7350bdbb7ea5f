"""A service whose effects are rows of its own table: `celery -A tests.soak.service worker`.

SOAK_SERVICE names it, and thereby says how it behaves.
"""

import os
import zlib
from typing import Any, Final

import django

django.setup()

from django.db import connection  # noqa: E402

from messaging import Envelope, RetryPolicy, Route, ServiceCommunicator  # noqa: E402
from messaging.clock import SYSTEM_CLOCK  # noqa: E402
from tests.soak.names import (  # noqa: E402
    ECHO,
    HAPPENED,
    ONCE,
    PLAIN,
    SHAKY,
    SLOW,
    TOLD,
    effects_table,
)

NAME: Final = os.environ["SOAK_SERVICE"]
#: Of the shaky one, each message of so many fails at its first attempts.
_ONE_IN: Final = 5
_FAILING_ATTEMPTS: Final = 2
_SLOW_SECONDS: Final = 0.2
#: Outlasts every fault: what is parked all the same was not only unlucky.
_PATIENT: Final = RetryPolicy(immediate=1, delayed=12, base_seconds=2.0, factor=1.5)

communicator = ServiceCommunicator(
    NAME,
    version="1",
    routes=[
        Route(path=f"/api/{NAME}/echo", methods=("POST",), message=ECHO, timeout=5.0),
        Route(path=f"/api/{NAME}/once", methods=("POST",), message=ONCE),
    ],
)


class NowAndThen(Exception):
    """What this handler depends on is not there just now."""


@communicator.on_message(ONCE, atomic=True, retry=_PATIENT)
@communicator.on_message(HAPPENED, atomic=True, retry=_PATIENT)
def have_one_effect(data: Any, message: Envelope) -> None:
    """In one transaction with the record of it; a failure takes the effect back."""
    leave_effect(data, message)
    behave(data, message)


@communicator.on_message(PLAIN, retry=_PATIENT)
@communicator.on_message(TOLD, retry=_PATIENT)
def have_an_effect(data: Any, message: Envelope) -> None:
    behave(data, message)
    leave_effect(data, message)


@communicator.on_message(ECHO)
def echo(data: Any) -> Any:
    return data


def behave(data: Any, message: Envelope) -> None:
    if NAME == SLOW and not data.get("quick"):
        SYSTEM_CLOCK.sleep(_SLOW_SECONDS)
    is_unlucky = zlib.crc32(data["number"].encode()) % _ONE_IN == 0
    if NAME == SHAKY and is_unlucky and message.attempt <= _FAILING_ATTEMPTS:
        raise NowAndThen("at the first attempts")


def leave_effect(data: Any, message: Envelope) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {effects_table(NAME)} (message_id, number, attempt, at)"
            " VALUES (%s, %s, %s, %s)",
            [message.id, data["number"], message.attempt, SYSTEM_CLOCK.now()],
        )


app = communicator.celery_app
