"""Replaying many dead letters: in groups where asked, and no further when a group fails again."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway_app import replays
from gateway_app.models import DeadLetter
from messaging.clock import SYSTEM_CLOCK
from messaging.models import InboxMessage, InboxState, OutboxMessage, OutboxState

#: How long a group may take to show how it does.
OUTCOME_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a replay of many goes."""

    actor: str
    force: bool = False
    as_new: bool = False
    #: At most so many a second; None: as fast as it goes.
    rate: int | None = None
    #: First one, then a tenth, then the rest, each only if those before it did well.
    in_groups: bool = False


class CanaryFailed(replays.NotReplayed):
    """A group failed again; the rest was not touched."""


def groups(letters: Sequence[DeadLetter], plan: Plan) -> Iterator[Sequence[DeadLetter]]:
    """Yield what is replayed together."""
    if not plan.in_groups:
        yield letters
        return
    tenth = 1 + math.ceil(len(letters) / 10)
    for group in (letters[:1], letters[1:tenth], letters[tenth:]):
        if group:
            yield group


def replay_all(
    letters: Sequence[DeadLetter], plan: Plan, on_each: Callable[[DeadLetter], None]
) -> int:
    """Replay dead letters, each in a transaction of its own; return how many.

    Stopped at any moment, what was replayed is replayed and the rest is as it was.

    Args:
        letters: in this order.
        plan: how.
        on_each: called after each.

    Raises:
        CanaryFailed: a group failed again, or did not come to an end in time.
        NotReplayed: one cannot be replayed; those before it were.
    """
    count = 0
    for group in groups(letters, plan):
        for letter in group:
            count += replays.replay(letter, actor=plan.actor, force=plan.force, as_new=plan.as_new)
            on_each(letter)
            if plan.rate:
                SYSTEM_CLOCK.sleep(1 / plan.rate)
        if plan.in_groups:
            _require_success(group, count, len(letters))
    return count


def _require_success(group: Sequence[DeadLetter], done: int, total: int) -> None:
    """Wait until all of a group were handled."""
    give_up_at = SYSTEM_CLOCK.monotonic() + OUTCOME_SECONDS
    waiting = list(group)
    while waiting:
        waiting = [letter for letter in waiting if not _is_handled(letter, done, total)]
        if waiting and SYSTEM_CLOCK.monotonic() > give_up_at:
            raise CanaryFailed(
                f"stopped after {done} of {total}: {waiting[0].message_id} has not been handled "
                f"within {OUTCOME_SECONDS:g} s; does {waiting[0].service} run?"
            )
        if waiting:
            SYSTEM_CLOCK.sleep(_LOOK_SECONDS)


def _is_handled(letter: DeadLetter, done: int, total: int) -> bool:
    sent = OutboxMessage.objects.filter(
        message_id=letter.message_id,
        target=letter.service,
        generation=letter.generation + 1,
    ).first()
    # In this database or told by a receipt; a failed attempt is seen only in this database.
    received = InboxMessage.objects.filter(
        message_id=letter.message_id, service=letter.service, generation=letter.generation + 1
    ).first()
    has_failed = received is not None and received.state in (
        InboxState.WAITING,
        InboxState.PARKED,
    )
    has_failed |= sent is not None and sent.state in (OutboxState.PARKED, OutboxState.EXPIRED)
    if has_failed:
        error = received.last_error if received is not None else sent and sent.reason
        raise CanaryFailed(
            f"stopped after {done} of {total}: {letter.message_id} failed again: {error}"
        )
    return sent is not None and sent.state == OutboxState.HANDLED
