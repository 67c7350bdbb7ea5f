"""Dead letters by cause: how many, since when, of which versions, and when most of them came.

A fixed number of queries, however many letters there are.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import Case, Count, IntegerField, Max, Min, Q, QuerySet, Value, When

from gateway_app import audit, deadletters
from gateway_app.models import DeadLetter, DeadLetterNote, DeadLetterState
from messaging import MessagingError
from messaging.envelope import utc_now
from messaging.text import storable

#: Parts of the range that a trend has.
BINS: Final = 24
OWNER_LENGTH: Final = 100
NOTE_LENGTH: Final = 2_000


class NoSuchGroup(MessagingError):
    """No dead letter has this fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Dead letters with one fingerprint, as far as they were parked in the range asked for."""

    fingerprint: str
    service: str
    type: str
    reason: str
    #: Of the one that was parked last.
    title: str
    frame: str
    priority: str
    #: In the state that was asked for; all of them where none was.
    count: int
    parked: int
    #: In any state.
    total: int
    first_parked_at: datetime
    last_parked_at: datetime
    #: Of the service, sorted; without those that said none.
    versions: tuple[str, ...]
    #: In any state, in equal parts of the range, oldest first.
    trend: tuple[int, ...]
    owner: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Some dead letters of a group."""

    letters: Sequence[DeadLetter]
    #: Give it to ask for those that follow; None: there are none.
    after: int | None


def groups(
    state: DeadLetterState | None = None,
    since: datetime | None = None,
    *,
    service: str | None = None,
    most: int = 50,
    bins: int = BINS,
    now: datetime | None = None,
) -> list[Group]:
    """Return the groups that have letters in a state, those with the newest letters first.

    Args:
        state: only groups that have letters in it; None: any.
        since: letters parked from then on count; None: all.
        service: only what this service gave up.
        most: at most so many groups.
        bins: parts of a trend.
        now: the end of the range; None: the present.
    """
    wanted = {"since": since, "until": now, "service": service}
    return matching(wanted, state, most=most, bins=bins)


def matching(
    wanted: Mapping[str, Any], state: DeadLetterState | None, *, most: int = 50, bins: int = BINS
) -> list[Group]:
    """Return the groups of the letters that match, as `groups`.

    Args:
        wanted: of `deadletters.FILTERS`; ``state`` is ignored: a group counts all.
        state: only groups that have letters in it; None: any.
        most: at most so many groups.
        bins: parts of a trend.
    """
    letters = deadletters.find({**wanted, "state": None})
    since, until = wanted.get("since"), wanted.get("until") or utc_now()
    return _groups(letters, state, since, until, most, bins)


def one_group(
    fingerprint: str,
    since: datetime | None = None,
    *,
    bins: int = BINS,
    now: datetime | None = None,
) -> Group | None:
    """Return one group, whatever state its letters are in; None: it has none in the range."""
    wanted = {"fingerprint": fingerprint, "since": since, "until": now}
    found = matching(wanted, None, most=1, bins=bins)
    return found[0] if found else None


def letters_of(
    fingerprint: str,
    *,
    state: DeadLetterState | None = None,
    since: datetime | None = None,
    after: int = 0,
    most: int = 50,
) -> Page:
    """Return a page of a group's letters, oldest first, without what their bodies were.

    Args:
        fingerprint: of the group.
        state: only those in it.
        since: only those parked from then on.
        after: `Page.after` of the page before.
        most: letters of a page.
    """
    rows = deadletters.find({"fingerprint": fingerprint, "state": state, "since": since})
    following = rows.filter(pk__gt=after).defer("raw_body", "traceback")
    found = list(following.order_by("pk")[: most + 1])
    return Page(found[:most], found[most - 1].pk if len(found) > most else None)


def counts(since: datetime | None = None, *, service: str | None = None) -> dict[str, int]:
    """Return how many letters are in each state, in one query."""
    rows = deadletters.find({"since": since, "service": service})
    # Not grouped: SQLite would read them in the order of the states, and find each row to do so.
    return rows.order_by().aggregate(
        **{state.value: Count("pk", filter=Q(state=state)) for state in DeadLetterState}
    )


def annotate(
    fingerprint: str, *, owner: str | None = None, note: str | None = None, actor: str
) -> bool:
    """Say who looks after a group, and what is known of it. Safe to repeat.

    Args:
        fingerprint: of the group.
        owner: None: as it was; empty: nobody.
        note: None: as it was; empty: nothing.
        actor: who says so.

    Returns:
        Whether that changed anything; only then it is on record.

    Raises:
        NoSuchGroup: no letter has this fingerprint.
        ValueError: too long.
    """
    said = {
        name: storable(text.strip())
        for name, text in (("owner", owner), ("note", note))
        if text is not None
    }
    for name, length in (("owner", OWNER_LENGTH), ("note", NOTE_LENGTH)):
        if len(said.get(name, "")) > length:
            raise ValueError(f"{name}: expected at most {length} characters")
    with transaction.atomic():
        letter = DeadLetter.objects.filter(fingerprint=fingerprint).only("service").first()
        if letter is None or not fingerprint:
            raise NoSuchGroup(f"no dead letter has the fingerprint {fingerprint!r:.40}")
        row, _ = DeadLetterNote.objects.select_for_update().get_or_create(fingerprint=fingerprint)
        changed = {name: text for name, text in said.items() if getattr(row, name) != text}
        if not changed:
            return False
        DeadLetterNote.objects.filter(pk=row.pk).update(**changed)
        what = "; ".join(f"{name}: {text or '(none)'}" for name, text in changed.items())
        audit.record(
            "note", actor=actor, service=letter.service, detail=f"group {fingerprint}: {what}"
        )
    return True


def _groups(
    wanted: QuerySet[DeadLetter],
    state: DeadLetterState | None,
    since: datetime | None,
    now: datetime,
    most: int,
    bins: int,
) -> list[Group]:
    rows: Any = (
        wanted.order_by()
        .values("fingerprint")
        .annotate(
            total=Count("pk"),
            parked=Count("pk", filter=Q(state=DeadLetterState.PARKED)),
            count=Count("pk", filter=Q() if state is None else Q(state=state)),
            first_parked_at=Min("parked_at"),
            last_parked_at=Max("parked_at"),
            newest=Max("pk"),
        )
        .filter(count__gt=0)
        .order_by("-last_parked_at", "-newest")[:most]
    )
    found = list(rows)
    if not found:
        return []
    names = [row["fingerprint"] for row in found]
    shown = wanted.filter(fingerprint__in=names)
    began_at = since or min(row["first_parked_at"] for row in found)
    trends, versions = _trends(shown, began_at, now, bins), _versions(shown)
    newest = _newest(row["newest"] for row in found)
    notes = {row.fingerprint: row for row in DeadLetterNote.objects.filter(fingerprint__in=names)}
    nobody = DeadLetterNote()
    result = []
    for row in found:
        letter = newest[row.pop("newest")]
        said = notes.get(row["fingerprint"], nobody)
        result.append(
            Group(
                **row,
                **letter,
                versions=versions[row["fingerprint"]],
                trend=tuple(trends[row["fingerprint"]][part] for part in range(bins)),
                owner=said.owner,
                note=said.note,
            )
        )
    return result


def _newest(keys: Iterable[int]) -> Mapping[int, dict[str, Any]]:
    names = ("service", "type", "reason", "title", "frame", "priority")
    letters = DeadLetter.objects.filter(pk__in=list(keys)).only(*names)
    return {letter.pk: {name: getattr(letter, name) for name in names} for letter in letters}


def _versions(shown: QuerySet[DeadLetter]) -> Mapping[str, tuple[str, ...]]:
    found: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    rows = shown.order_by("fingerprint", "service_version")
    for name, version in rows.values_list("fingerprint", "service_version").distinct():
        found[name] += (version,) if version else ()
    return found


def _trends(
    shown: QuerySet[DeadLetter], began_at: datetime, ended_at: datetime, bins: int
) -> Mapping[str, Counter[int]]:
    part_seconds = (ended_at - began_at) / bins
    part = Case(
        *(
            When(parked_at__lt=began_at + part_seconds * (number + 1), then=Value(number))
            for number in range(bins - 1)
        ),
        default=Value(bins - 1),
        output_field=IntegerField(),
    )
    found: defaultdict[str, Counter[int]] = defaultdict(Counter)
    rows = shown.order_by().annotate(part=part).values("fingerprint", "part")
    for row in rows.annotate(count=Count("pk")):
        found[row["fingerprint"]][row["part"]] = row["count"]
    return found
