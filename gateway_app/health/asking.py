"""A health round when somebody wants one, not when it is due."""

from datetime import datetime, timedelta
from typing import Final

from gateway_app import audit
from gateway_app.registry import registry_status
from messaging import ServiceCommunicator
from messaging.registration import HEALTH_ROUND

#: Failures in a row take instances down: rounds must not follow each other faster than this.
LEAST_SECONDS: Final = 5.0
#: A round that nobody could begin by then is not wanted any more.
_EXPIRES_SECONDS: Final = 10.0


class TooSoon(ValueError):
    """A health round has just ended; what it found out is as good as a new one. Retry later."""


def ask_for_round(communicator: ServiceCommunicator, *, actor: str, now: datetime) -> None:
    """Have a worker of the gateway begin a health round at once; on record when this returns.

    Not under custody: should no worker take it, beat's next one comes all the same. Safe to
    repeat.

    Raises:
        TooSoon: the last one ended less than `LEAST_SECONDS` ago.
        PublishError, BrokerUnavailable, BrokerBusy: it was not asked for; safe to retry.
    """
    ended_at = registry_status.load().round_at
    if ended_at is not None and timedelta() <= now - ended_at < timedelta(seconds=LEAST_SECONDS):
        raise TooSoon("a health round ended a moment ago: what is shown is of now")
    communicator.tell(communicator.name, HEALTH_ROUND, {}, expires_in=_EXPIRES_SECONDS)
    audit.record("check", actor=actor, service=communicator.name, detail="health round", at=now)
