"""What operators do on the Dead letters page: replay, stop, discard, restore, annotate."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from gateway_app import deadletter_groups, replay_runs, replays
from gateway_app.models import DeadLetter, DeadLetterState, ReplayRun
from gateway_app.ops import dead_letters, figures
from gateway_app.ops.rights import Right, requires
from gateway_app.replay_outcomes import why_done
from messaging import MessagingError
from messaging.apps import configured
from messaging.database_threads import write_transaction
from messaging.envelope import utc_now

#: Discarded or restored by one click; the next one does the next.
MOST_AT_ONCE: Final = 1_000
#: Begins the tags of a message whose undo restores what was discarded; see `undo_of`.
_UNDO_TAG: Final = "undo"
#: That are told of what was skipped.
_MOST_REASONS: Final = 3
#: Digits of a number that a form may name: databases keep no longer ones.
_MOST_DIGITS: Final = 18


class Refused(Exception):
    """Nothing was done; the text says why."""


def _action(act: Callable[[HttpRequest], str]) -> Callable[[HttpRequest], HttpResponse]:
    """Make a view of an action that returns what has been done, in words."""

    @requires(Right.OPERATE)
    @require_POST
    def view(request: HttpRequest) -> HttpResponse:
        back = f"{reverse('ops:dead-letters')}{_query(request)}"
        try:
            said = act(request)
        except (Refused, MessagingError, ValueError) as exc:
            shown = {"reason": str(exc), "back": back}
            return render(request, "ops/refused.html", shown, status=400)
        finally:
            dead_letters.changed()
        if said:
            messages.success(request, said)
        response = HttpResponseRedirect(back)
        response.status_code = 303
        return response

    view.__doc__ = act.__doc__
    return view


@_action
def canary(request: HttpRequest) -> str:
    """Begin a run of three letters of a group."""
    return _start(request, is_canary=True, rate=replay_runs.CANARY)


@_action
def replay_all(request: HttpRequest) -> str:
    """Begin a run of all parked letters of a group, at a rate."""
    fingerprint = _fingerprint(request)
    parked = DeadLetter.objects.filter(fingerprint=fingerprint, state=DeadLetterState.PARKED)
    count = parked.count()
    # The number that the dialog named: a group may grow while somebody types.
    named = _number(request.POST.get("named", "")) or 0
    typed = _number(request.POST.get("confirm", "").strip())
    if count > dead_letters.TYPED_ABOVE and (typed != named or named <= dead_letters.TYPED_ABOVE):
        raise Refused(f"type the number of messages, {count}, to replay so many")
    rate = request.POST.get("rate", "")
    if not rate.isdecimal() or len(rate) > 6:
        raise Refused("the rate must be a whole number of messages a second")
    return _start(request, is_canary=False, rate=int(rate))


@_action
def stop(request: HttpRequest) -> str:
    """Stop a run."""
    number = _number(request.POST.get("run", ""))
    if number is None:
        raise Refused("which run?")
    run = get_object_or_404(ReplayRun, pk=number)
    if not replay_runs.stop(run, actor=request.user.get_username()):
        return "It was not running any more."
    run.refresh_from_db()
    return f"Stopped. {run.to_go} of {run.total} were not replayed."


@_action
def replay_chosen(request: HttpRequest) -> str:
    """Replay the letters that are ticked; those that must not run again are skipped."""
    letters = _ticked(request)
    if letters is None:
        raise Refused("nothing was ticked")
    actor = request.user.get_username()
    skipped = Counter(filter(None, (_replay(letter, actor) for letter in letters)))
    count = skipped.total()
    said = f"{figures.plural(len(letters) - count, 'message')} replayed"
    why = "; ".join(list(skipped)[:_MOST_REASONS])
    return f"{said}, {count} skipped: {why}" if count else f"{said}."


@_action
def discard(request: HttpRequest) -> str:
    """Discard the letters that are ticked, or all parked ones of the group."""
    began_at = utc_now()
    why = request.POST.get("why", "").strip()
    act = partial(replays.discard, actor=request.user.get_username(), why=why)
    letters = _ticked(request)
    if letters is None:
        letters = _of_group(request, DeadLetterState.PARKED)
    count = _each(letters, act)
    if count:
        span = f"{began_at.isoformat()} {utc_now().isoformat()}"
        undo = f"{_UNDO_TAG} {_fingerprint(request)} {span}"
        kept_until = utc_now() + timedelta(days=configured().retention_days)
        text = f"{figures.plural(count, 'message')} discarded. Kept until {kept_until:%-d %b}."
        messages.success(request, text, extra_tags=undo)
        return ""
    return "Nothing was parked any more."


@_action
def restore(request: HttpRequest) -> str:
    """Undo discards: of the letters that are ticked, of one discard, or all of the group."""
    letters = _ticked(request)
    if letters is None:
        letters = _of_group(request, DeadLetterState.DISCARDED, **_moved(request))
    act = partial(replays.restore, actor=request.user.get_username())
    return f"{figures.plural(_each(letters, act), 'message')} restored."


@_action
def annotate(request: HttpRequest) -> str:
    """Say who looks after a group, and what is known of it."""
    changed = deadletter_groups.annotate(
        _fingerprint(request),
        owner=request.POST.get("owner"),
        note=request.POST.get("note"),
        actor=request.user.get_username(),
    )
    return "Noted." if changed else ""


def _start(request: HttpRequest, *, is_canary: bool, rate: int) -> str:
    key = request.POST.get("key", "")
    replay_runs.start(
        {"fingerprint": _fingerprint(request)},
        actor=request.user.get_username(),
        rate=rate,
        # One form has one key, whichever of its buttons was pressed.
        key=f"{'canary' if is_canary else 'all'}:{key}"[: replay_runs.KEY_LENGTH] if key else "",
        canary=is_canary,
    )
    return ""


def undo_of(tags: str) -> dict[str, str] | None:
    """Return the fields of the form that undoes what a message tells of; None: it has none."""
    word, *fields = tags.split(" ")
    return (
        dict(zip(("group", "since", "until"), fields, strict=False)) if word == _UNDO_TAG else None
    )


def _replay(letter: DeadLetter, actor: str) -> str:
    """Replay a letter; return why it was skipped instead, or nothing."""
    with write_transaction():
        why = why_done(letter)
        if why:
            return why
        try:
            return "" if replays.replay(letter, actor=actor) else "not parked any more"
        except MessagingError as exc:
            return str(exc)


def _each(letters: Iterable[DeadLetter], act: Callable[[DeadLetter], bool]) -> int:
    return sum(act(letter) for letter in letters)


def _ticked(request: HttpRequest) -> list[DeadLetter] | None:
    """Return the letters that are ticked and still in the group; None: nothing was ticked."""
    texts = request.POST.getlist("letter")
    if not texts:
        return None
    keys = [key for key in map(_number, texts) if key is not None][:MOST_AT_ONCE]
    rows = DeadLetter.objects.filter(pk__in=keys, fingerprint=_fingerprint(request))
    return list(rows.order_by("pk"))


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def _of_group(request: HttpRequest, state: DeadLetterState, **more: Any) -> list[DeadLetter]:
    rows = DeadLetter.objects.filter(fingerprint=_fingerprint(request), state=state, **more)
    return list(rows.order_by("pk")[:MOST_AT_ONCE])


def _moved(request: HttpRequest) -> dict[str, datetime]:
    """Return when letters were moved that a form is about, as lookups; empty: at any time."""
    lookups = {"moved_at__gte": "since", "moved_at__lte": "until"}
    given = {lookup: request.POST.get(name) for lookup, name in lookups.items()}
    return {lookup: datetime.fromisoformat(text) for lookup, text in given.items() if text}


def _fingerprint(request: HttpRequest) -> str:
    found = request.POST.get("group", "")
    if not found:
        raise Refused("which group?")
    return found


def _query(request: HttpRequest) -> str:
    back = request.POST.get("back", "")
    # Of our own page only: what is sent here must not lead anywhere else.
    return back if back.startswith("?") and "\n" not in back and "\r" not in back else ""
