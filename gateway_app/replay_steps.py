"""What happens in a replay run, a bounded step at a time."""

from datetime import datetime, timedelta
from typing import Final

from django.db.models import F

from gateway_app import replays
from gateway_app.models import ItemOutcome, ReplayRun, ReplayRunItem, RunState
from gateway_app.models.replays import OPEN_OUTCOMES
from gateway_app.replay_outcomes import Seen, news_of, why_done
from gateway_app.replay_runs import running
from messaging.database_threads import write_transaction
from messaging.errors import CodecError

#: Letters of one step: half a second on a slow disk.
MOST_A_STEP: Final = 50
#: Replayed without a known outcome; with so many the service has enough to do.
MOST_OPEN: Final = 500
#: A run that was left alone catches up with so much of its rate.
CATCH_UP: Final = timedelta(seconds=1)
#: So many in a row that fail again end a run.
MOST_FAILURES: Final = 3
#: When all is replayed and nothing becomes of it any more for so long, nobody waits for the rest.
PATIENCE: Final = timedelta(seconds=60)
_FAILED_AGAIN: Final = (ItemOutcome.RETRYING, ItemOutcome.PARKED_AGAIN)
_NOT_PARKED: Final = "replayed, discarded or removed by somebody else"


def advance(run: ReplayRun, now: datetime) -> int:
    """Note what has become of what a run replayed, then replay what its rate allows by now.

    Ends the run where nothing is left to do, and stops it where letters fail again: after three in
    a row; a canary after one. A failed attempt that will be repeated counts there, where it can be
    seen. Safe to repeat at any time, and for several processes at once; what another one does to
    the run meanwhile, a stop too, holds from the next letter on.

    Args:
        run: a row; how it looks in the database now is what counts.
        now: the present.

    Returns:
        How many letters it replayed or skipped.

    Raises:
        PublishError, DatabaseError: the database did not take it. What was done is on record, and
            the next step goes on.
    """
    note_outcomes(run, now)
    _stop_if_failing(run, now)
    count = 0
    while count < MOST_A_STEP and _replay_next(run, now):
        count += 1
    _end_if_done(run, now)
    return count


def note_outcomes(run: ReplayRun, now: datetime) -> None:
    """Note what has become of what a run replayed, in whatever state the run is."""
    news = news_of(run.items.all())
    if not news:
        return
    with write_transaction():
        ReplayRun.objects.select_for_update().get(pk=run.pk)  # who counts, counts alone
        ended = [seen.outcome for seen in news if _note(seen, now)]
        handled = ended.count(ItemOutcome.HANDLED)
        failed = ended.count(ItemOutcome.PARKED_AGAIN)
        ReplayRun.objects.filter(pk=run.pk).update(
            sent=F("sent") - handled - failed,
            handled=F("handled") + handled,
            parked_again=F("parked_again") + failed,
            moved_at=now,
        )


def _note(seen: Seen, now: datetime) -> bool:
    """Note one outcome; return whether it is news."""
    item = ReplayRunItem.objects.filter(pk=seen.item.pk, outcome__in=OPEN_OUTCOMES)
    values = {"outcome": seen.outcome, "detail": seen.detail, "moved_at": now}
    return bool(item.exclude(outcome=seen.outcome).update(**values))


def _replay_next(run: ReplayRun, now: datetime) -> bool:
    """Replay or skip the next letter, together with its place in the counts, if it is time."""
    with write_transaction():
        current = running().select_for_update().filter(pk=run.pk).first()
        if current is None or current.next_at > now or current.sent >= MOST_OPEN:
            return False
        item = (
            current.items.filter(outcome=ItemOutcome.TO_GO)
            .select_related("letter")
            .order_by("pk")
            .first()
        )
        if item is None:
            return False
        why = _replay(item, current.actor)
        item.outcome = ItemOutcome.SKIPPED if why else ItemOutcome.SENT
        item.detail, item.moved_at = why, now
        item.save(update_fields=["outcome", "detail", "moved_at"])
        current.to_go -= 1
        if why:
            current.skipped += 1
        else:
            current.sent += 1
            pause = timedelta(seconds=1 / current.rate)
            current.next_at = max(current.next_at, now - CATCH_UP) + pause
        current.moved_at = now
        current.save(update_fields=["to_go", "skipped", "sent", "next_at", "moved_at"])
    return True


def _replay(item: ReplayRunItem, actor: str) -> str:
    """Replay a letter; return why it was skipped instead, or nothing."""
    why = why_done(item.letter)
    if why:
        return why
    try:
        return "" if replays.replay(item.letter, actor=actor) else _NOT_PARKED
    except (replays.NotReplayed, CodecError) as exc:
        return str(exc)


def _stop_if_failing(run: ReplayRun, now: datetime) -> None:
    known = run.items.filter(outcome__in=(*_FAILED_AGAIN, ItemOutcome.HANDLED))
    last = list(known.order_by("-moved_at", "-pk")[:MOST_FAILURES])
    failed = [item for item in last if item.outcome in _FAILED_AGAIN]
    if run.canary and failed:
        _end(run, RunState.FAILED, f"{len(failed)} failed again: {failed[0].detail}", now)
    elif len(failed) == MOST_FAILURES:
        _end(run, RunState.FAILED, f"{len(failed)} in a row failed again: {last[0].detail}", now)


def _end_if_done(run: ReplayRun, now: datetime) -> None:
    current = running().filter(pk=run.pk, to_go=0).first()
    if current is None:
        return
    if not current.sent:
        _end(run, RunState.ENDED, "", now)
    elif now - current.moved_at >= PATIENCE:
        why = (
            f"{current.sent} sent, and not handled within {PATIENCE.total_seconds():g} s; "
            "does the service run?"
        )
        _end(run, RunState.FAILED if run.canary else RunState.ENDED, why, now)


def _end(run: ReplayRun, state: RunState, why: str, now: datetime) -> None:
    running().filter(pk=run.pk).update(state=state, why=why, ended_at=now)
