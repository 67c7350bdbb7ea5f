"""Trying a handler: one round of attempts in place, and what follows when they failed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from messaging.clock import Clock
from messaging.deadletter import DeadLetterReason
from messaging.envelope import Envelope
from messaging.errors import InvalidData, LeaseLost, Reject, Retry
from messaging.events import emit, message_failed
from messaging.retry import RetryPolicy

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """How one round of attempts ended."""

    #: Attempts made in it.
    tries: int
    #: What the handler returned.
    answer: Any = None
    #: What the last attempt raised; None: it worked.
    error: BaseException | None = None
    #: Time the last attempt took.
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """The next round begins after a pause."""

    delay_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """There is no next round."""

    reason: DeadLetterReason
    error: BaseException | str


def run_round(
    envelope: Envelope,
    call: Callable[[Envelope], Any],
    policy: RetryPolicy,
    *,
    service: str,
    clock: Clock,
    attempts: int,
) -> Round:
    """Call until it works or the round is over.

    Args:
        envelope: the message; the attempt that it is handed with is counted up.
        call: one attempt.
        policy: how many there are in a round.
        service: for signals.
        clock: measures attempts.
        attempts: made before this round.

    Raises:
        LeaseLost: another run has the message; this one must end.
    """
    tries = 0
    while True:
        tries += 1
        attempt = attempts + tries
        message = envelope if envelope.attempt == attempt else envelope.next_attempt(attempt)
        began = clock.monotonic()
        try:
            answer = call(message)
        except (Reject, Retry) as exc:
            return Round(tries=tries, error=exc, seconds=clock.monotonic() - began)
        except LeaseLost:
            raise
        except (Exception, SystemExit) as exc:
            emit(message_failed, service, envelope=message, error=exc)
            logger.warning(
                "%s %s: attempt %d failed: %r",
                envelope.type,
                envelope.id,
                attempt,
                exc,
                exc_info=exc,
            )
            if policy.ends_round(attempt) or isinstance(exc, policy.give_up_on):
                return Round(tries=tries, error=exc, seconds=clock.monotonic() - began)
        else:
            return Round(tries=tries, answer=answer, seconds=clock.monotonic() - began)


def next_step(error: BaseException, policy: RetryPolicy, attempt: int) -> Later | GiveUp:
    """Return what follows a round that failed.

    Args:
        error: what its last attempt raised.
        policy: of the handler or priority.
        attempt: the number of that attempt.
    """
    if isinstance(error, Reject):
        is_invalid = error.code == InvalidData.code
        reason = DeadLetterReason.INVALID if is_invalid else DeadLetterReason.REJECTED
        return GiveUp(reason=reason, error=error.reason)
    delay = policy.delay_after(attempt)
    if delay is None or isinstance(error, policy.give_up_on):
        return GiveUp(reason=DeadLetterReason.ATTEMPTS_EXHAUSTED, error=error)
    if isinstance(error, Retry) and error.delay_seconds is not None:
        delay = error.delay_seconds
    return Later(delay_seconds=delay)
