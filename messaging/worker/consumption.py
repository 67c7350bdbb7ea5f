"""Whether a worker takes messages: paused and resumed from outside, and remembered over restarts.

A Celery remote control command reaches every worker that runs; what it says is kept in the
service's database, so that one that starts later takes nothing either. A worker that missed both
says with its heartbeats that it is not what the registry wants, and is told again; see
`gateway_app.pausing`.
"""

import logging
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from celery.worker.control import control_command
from django.db import DatabaseError
from kombu.exceptions import OperationalError

from messaging.database_threads import close_database
from messaging.envelope import utc_now
from messaging.errors import BadSignature, BrokerError, BrokerUnavailable
from messaging.signing import CONTROL, Keyring
from messaging.text import storable

if TYPE_CHECKING:
    from messaging.worker.app import BusApp
    from messaging.worker.consumer import GuardConsumer

logger = logging.getLogger(__name__)

#: Name of the remote control command.
COMMAND: Final = "bus_consume"
#: A signed command is obeyed for so long, which clocks may be apart as well. One that is refused
#: is said again: the registry does so until workers are as it wants.
FRESH_SECONDS: Final = 60.0


class Consumption:
    """Stops and starts the consuming of one worker. Used on its event loop only.

    What is in hand when it stops is finished. Heartbeats, receipts and the relay go on.

    Args:
        consumer: the worker's; it need not be connected yet.
    """

    def __init__(self, consumer: "GuardConsumer") -> None:
        self._consumer = consumer
        self._communicator = consumer.app.communicator
        self._queue = str(consumer.app.conf.task_default_queue)
        #: Whether no messages are taken because that is wanted. May be read on any thread. What
        #: stopped for another reason is not paused, and the registry shall wonder why.
        self.is_paused = False

    def recall(self) -> None:
        """Begin paused where the database says so. Call it before there is a connection."""
        from messaging.models import PausedService  # Django's models load late

        try:
            paused = PausedService.objects.filter(service=self._communicator.name).first()
        except DatabaseError as exc:
            # The registry knows it too, and says it again at the first heartbeat.
            logger.warning("%s cannot see whether it is paused: %s", self._communicator.name, exc)
            close_database()
            return
        if paused is not None:
            self._consumer.app.amqp.queues.deselect(self._queue)
            self.is_paused = True
            self._log(is_paused=True, reason=paused.reason)

    def put(self, *, is_paused: bool, reason: str) -> None:
        """Stop or start consuming, and have that remembered. Safe to repeat."""
        self._consumer.remember(partial(_remember, self._communicator.name, is_paused, reason))
        if is_paused == self.is_paused:
            return
        if is_paused:
            self._consumer.cancel_task_queue(self._queue)
        else:
            self._consumer.add_task_queue(self._queue)
        self.is_paused = is_paused
        self._log(is_paused=is_paused, reason=reason)
        self._communicator.presence.hurry()

    def _log(self, *, is_paused: bool, reason: str) -> None:
        if is_paused:
            logger.warning("%s is paused, and takes no messages: %s", self._queue, reason)
        else:
            logger.warning("%s is resumed", self._queue)


def tell_workers(app: "BusApp", service: str, *, is_paused: bool, reason: str) -> None:
    """Tell all workers of a service that run to take messages, or none; returns before they do.

    Safe to repeat. Workers that do not get it are to be told again.

    Args:
        app: of the gateway; nobody else is obeyed where messages are signed.
        service: whose workers.
        is_paused: whether they shall take none.
        reason: for their logs, text for people.

    Raises:
        BrokerUnavailable: none was told, or not all of them.
    """
    bus = app.communicator.bus
    connection = bus.connection()
    errors = (*connection.connection_errors, *connection.channel_errors)
    try:
        with connection:
            timeout = bus.config.broker_timeout_seconds
            connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=timeout)
            app.control.broadcast(
                COMMAND,
                arguments=_signed(bus.keyring, app.communicator.name, service, is_paused, reason),
                connection=connection,
            )
    except (*errors, OperationalError, BrokerError, OSError) as exc:
        raise BrokerUnavailable(f"workers of {service} could not be told: {exc}") from exc


@control_command(name=COMMAND)
def _consume(
    state: Any, service: str, is_paused: bool, reason: str, said_at: str = "", signature: str = ""
) -> dict[str, str]:
    """Do what `tell_workers` asks for, if it is meant for this worker."""
    consumer: GuardConsumer = state.consumer
    communicator = consumer.app.communicator
    if communicator.name != service:
        return {"ok": "not for this service"}
    keyring, gateway = communicator.bus.keyring, communicator.bus.config.gateway_name
    if keyring.has_keys:
        said = _said(service, is_paused, reason, said_at)
        try:
            keyring.check(CONTROL, said, signature, gateway)
            _require_fresh(said_at)
        except BadSignature as exc:
            logger.warning("%s does not obey a remote control command: %s", service, exc)
            return {"error": str(exc)}
    consumer.consumption.put(is_paused=is_paused, reason=reason)
    return {"ok": "paused" if is_paused else "resumed"}


def _signed(
    keyring: Keyring, speaker: str, service: str, is_paused: bool, reason: str
) -> dict[str, Any]:
    said = _said(service, is_paused, reason, utc_now().isoformat())
    if keyring.has_keys:
        said["signature"] = keyring.sign(CONTROL, said, speaker)
    return said


def _said(service: str, is_paused: bool, reason: str, said_at: str) -> dict[str, Any]:
    return {
        "service": service,
        "is_paused": is_paused,
        "reason": reason,
        "said_at": said_at,
    }


def _require_fresh(said_at: str) -> None:
    """Refuse what was said long ago: somebody may have kept it."""
    try:
        age = abs((utc_now() - datetime.fromisoformat(said_at)).total_seconds())
    except (ValueError, TypeError) as exc:
        raise BadSignature(f"when it was said cannot be read: {exc}") from exc
    if age > FRESH_SECONDS:
        raise BadSignature(f"it was said {age:.0f} s ago, the limit is {FRESH_SECONDS:g} s")


def _remember(service: str, is_paused: bool, reason: str) -> None:
    from messaging.models import PausedService

    if is_paused:
        PausedService.objects.update_or_create(
            service=service, defaults={"at": utc_now(), "reason": storable(reason)}
        )
    else:
        PausedService.objects.filter(service=service).delete()
