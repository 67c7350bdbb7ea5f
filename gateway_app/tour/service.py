"""The service that the tour breaks: `celery -A gateway_app.tour.service worker`.

Its effects are rows of a table of the tour's own, so that a double one can be seen.
"""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_app.settings")
django.setup()

from django.conf import settings  # noqa: E402 - Django first
from django.db import connection  # noqa: E402

from gateway_app.tour.names import ALERT, COUNT, FAULT_FILE, FRAGILE, SERVICE  # noqa: E402
from messaging import Envelope, RetryPolicy, ServiceCommunicator  # noqa: E402

communicator = ServiceCommunicator(SERVICE, version="1.0.0")


class Broken(Exception):
    """What this handler depends on is broken."""


@communicator.on_message(COUNT, atomic=True)
@communicator.on_message(ALERT, atomic=True)
def note_effect(_data: Any, message: Envelope) -> None:
    """Leave one row: in the transaction that notes the message as handled."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tour_effect (message_id, type) VALUES (%s, %s)",
            [message.id, message.type],
        )


@communicator.on_message(
    FRAGILE, atomic=True, retry=RetryPolicy(immediate=2, delayed=1, base_seconds=1.0)
)
def depend_on_something(data: Any, message: Envelope) -> None:
    """Fail as long as the fault is there."""
    if (settings.VAR_DIR / FAULT_FILE).exists():
        raise Broken("the tour has broken it")
    note_effect(data, message)


app = communicator.celery_app
