"""Replays of many dead letters: begun and stopped by operators, and gone through step by step.

A run is rows, and each step of it is a transaction for one letter that holds the run's row. So
any number of processes may step the same run, and be killed anywhere: no letter is left out, none
is replayed twice, and no rate is exceeded. The steps are `replay_steps`, done by workers of the
gateway: `replay_driver`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from gateway_app import audit, deadletters, replay_wakeup
from gateway_app.models import (
    DeadLetter,
    DeadLetterState,
    ReplayRun,
    ReplayRunItem,
    RunState,
)
from gateway_app.replay_outcomes import has_been_done
from messaging import MessagingError
from messaging.envelope import utc_now

#: Letters of a canary.
CANARY: Final = 3
HIGHEST_RATE: Final = 1_000
KEY_LENGTH: Final = 100
_RUNNING: Final = "this is being replayed already"
_CHOICES: Final = frozenset(deadletters.FILTERS) - {"state"}


class NotStarted(MessagingError):
    """A run was not started, and nothing was changed; the text says why."""


def start(
    wanted: Mapping[str, Any], *, actor: str, rate: int, key: str, canary: bool = False
) -> ReplayRun:
    """Begin to replay the parked letters that match; a worker of the gateway does it.

    Safe to repeat: the same key is the same run, whatever has become of it.

    Args:
        wanted: of `deadletters.FILTERS`, without ``state``; ``{"fingerprint": …}`` for a group.
        actor: who wants it.
        rate: at most so many a second.
        key: chosen by whoever calls, new for each time something is started.
        canary: only the first `CANARY` that were not handled meanwhile.

    Raises:
        NotStarted: nothing is parked; the same choice is being replayed; the key is another run's.
        ValueError: the choice, the rate or the key is not valid.
    """
    text = _as_text(wanted)
    if not 1 <= rate <= HIGHEST_RATE:
        raise ValueError(f"rate: expected 1 to {HIGHEST_RATE} a second, got {rate}")
    if not 0 < len(key) <= KEY_LENGTH:
        raise ValueError(f"key: expected 1 to {KEY_LENGTH} characters, got {len(key)}")
    try:
        with transaction.atomic():
            known = ReplayRun.objects.filter(key=key).first()
            if known is None:
                run = _start(wanted, text, actor, rate, key, canary)
                transaction.on_commit(replay_wakeup.wake, robust=True)
                return run
    except IntegrityError as exc:
        # Another one was faster, under this key or with this choice.
        known = ReplayRun.objects.filter(key=key).first()
        if known is None:
            raise NotStarted(_RUNNING) from exc
    if (known.wanted_json, known.canary) != (text, canary):
        raise NotStarted(f"the key {key!r} stands for another run")
    return known


def stop(run: ReplayRun, *, actor: str) -> bool:
    """``running --> stopped``: nothing more is replayed from when this returns. Safe to repeat.

    What was sent goes its way, and its outcome is still noted.

    Returns:
        Whether it was running until now.
    """
    with transaction.atomic():
        now = utc_now()
        stopped = running().filter(pk=run.pk)
        if not stopped.update(state=RunState.STOPPED, ended_at=now, why=f"stopped by {actor}"):
            return False
        audit.record("stop", actor=actor, service=_service_of(run), detail=f"replay run {run.pk}")
    return True


def running() -> QuerySet[ReplayRun]:
    """Return the runs that replay something, or wait for the outcome of what they replayed."""
    return ReplayRun.objects.filter(state=RunState.RUNNING)


def latest(fingerprint: str, *, canary: bool | None = None) -> ReplayRun | None:
    """Return the newest run of a group; None: there is none."""
    rows = ReplayRun.objects.filter(fingerprint=fingerprint)
    if canary is not None:
        rows = rows.filter(canary=canary)
    return rows.order_by("-pk").first()


def outcomes(run: ReplayRun, letters: Iterable[DeadLetter]) -> dict[int, ReplayRunItem]:
    """Return the items of a run for some letters, by the letters' keys."""
    items = ReplayRunItem.objects.filter(run=run, letter__in=list(letters))
    return {item.letter_id: item for item in items}


def done_already(wanted: Mapping[str, Any]) -> int:
    """Return how many parked letters that match a run would skip: it must not run them again."""
    return _parked(wanted).filter(has_been_done()).count()


def describe(run: ReplayRun) -> dict[str, Any]:
    """Return how a run is doing, for programs; the counts add up to its total."""
    names = ("state", "actor", "rate", "canary", "fingerprint", "why")
    counts = ("total", "handled", "skipped", "parked_again", "sent", "to_go")
    return {
        "id": run.pk,
        **{name: getattr(run, name) for name in (*names, *counts)},
        "wanted": run.wanted,
        "started_at": run.started_at.isoformat(),
        "ended_at": run.ended_at and run.ended_at.isoformat(),
    }


def _start(
    wanted: Mapping[str, Any], text: str, actor: str, rate: int, key: str, canary: bool
) -> ReplayRun:
    choice = hashlib.sha256(text.encode()).hexdigest()
    if running().filter(choice=choice).exists():
        raise NotStarted(_RUNNING)
    letters = _parked(wanted)
    if canary:
        letters = letters.exclude(has_been_done())[:CANARY]
    chosen = list(letters.values_list("pk", flat=True))
    if not chosen:
        raise NotStarted("nothing that matches is parked and was not handled meanwhile")
    now = utc_now()
    run = ReplayRun.objects.create(
        key=key,
        wanted_json=text,
        choice=choice,
        fingerprint=wanted.get("fingerprint") or "",
        actor=actor,
        rate=rate,
        canary=canary,
        total=len(chosen),
        to_go=len(chosen),
        started_at=now,
        next_at=now,
        moved_at=now,
    )
    ReplayRunItem.objects.bulk_create(
        (ReplayRunItem(run=run, letter_id=letter) for letter in chosen), batch_size=1_000
    )
    audit.record(
        "canary" if canary else "run",
        actor=actor,
        service=_service_of(run),
        detail=f"replay run {run.pk}: {run.total} at {rate}/s of {text}",
    )
    return run


def _parked(wanted: Mapping[str, Any]) -> QuerySet[DeadLetter]:
    return deadletters.find({**wanted, "state": DeadLetterState.PARKED})


def _as_text(wanted: Mapping[str, Any]) -> str:
    given = {name: value for name, value in wanted.items() if value is not None}
    if not given or given.keys() - _CHOICES:
        raise ValueError(f"expected some of {', '.join(sorted(_CHOICES))}, got {sorted(given)}")
    return json.dumps(given, sort_keys=True, default=_instant)


def _instant(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"not a filter of dead letters: {value!r:.100}")
    return value.isoformat()


def _service_of(run: ReplayRun) -> str:
    first = run.items.select_related("letter").only("letter__service").first()
    return first.letter.service if first else ""
