"""What whoever sends by hand is told beside the message's id, or instead of it."""

from collections.abc import Iterator
from datetime import datetime

from django.db import DatabaseError

from gateway_app.bus import communicator
from gateway_app.models import Service
from messaging.brokers import shown
from messaging.errors import (
    BrokerUnavailable,
    ConfigurationError,
    MessagingError,
    PublishError,
    PublishUncertain,
)
from messaging.models import OutboxMessage, OutboxState
from messaging.refusal import refusal


def of_sent(
    message_id: str, *, to: str | None, at: datetime | None, now: datetime
) -> Iterator[str]:
    """Yield what is odd about a message that was sent, a line each. Waits for it to go out.

    Args:
        message_id: its id.
        to: its target; None: it is a broadcast.
        at: the instant at which it was to go out; None: at once.
        now: the instant at which it was sent.
    """
    if at is not None and at <= now:
        yield f"{at.isoformat()} is past; it is not waited for"
    if to is not None and (hint := unknown(to)):
        yield hint
    if hint := _kept(message_id):
        yield hint


def unknown(service: str) -> str:
    """Return what is odd about who gets a message; empty: nothing."""
    try:
        is_known = Service.objects.filter(name=service).exists()
    except DatabaseError as exc:
        return f"sent; whether a service {service!r} is known could not be looked up: {exc}"
    if is_known:
        return ""
    return f"no service {service!r} has ever registered; the message waits until one starts"


def _kept(message_id: str) -> str:
    """Return why a message is in the database and not on the broker; empty: it is not, or due."""
    communicator.bus.dispatch.flush()
    waiting = OutboxMessage.objects.filter(message_id=message_id, state=OutboxState.PENDING)
    try:
        why = waiting.exclude(last_error="").values_list("held_at", "last_error").first()
    except DatabaseError:
        return ""  # the broker has it: nothing could have been kept
    if why is None:
        return ""
    held_at, error = why
    reason = error if held_at else f"the broker at {_broker()} did not take it ({error})"
    return (
        f"{reason}: the message waits in this database until a relay sends it, "
        "in a worker of this project or manage.py bus_relay"
    )


def of_error(error: MessagingError) -> MessagingError:
    """Return an error as it is told to whoever has sent by hand: with what it is about."""
    if isinstance(error, BrokerUnavailable) and (reason := refusal(error)):
        return ConfigurationError(f"{_broker()}: {reason}; nothing was sent")
    if type(error) is BrokerUnavailable:  # of one that is just back its text says more
        return BrokerUnavailable(
            f"the broker at {_broker()} is away, and nothing was sent: "
            f"{error.__cause__ or error}; sending it again is safe"
        )
    is_unsent = isinstance(error, PublishError) and not isinstance(error, PublishUncertain)
    if is_unsent and _lacks_tables(error):
        return ConfigurationError(
            "the database has no tables of the bus, and nothing was sent: run manage.py migrate"
        )
    return error


def _broker() -> str:
    return shown(communicator.bus.config.broker_url)


def _lacks_tables(error: BaseException | None) -> bool:
    while error is not None:
        # SQLite's words, and the name of psycopg's error, which may not be installed.
        if "no such table" in str(error) or type(error).__name__ == "UndefinedTable":
            return True
        error = error.__cause__
    return False
