"""One sentence for who looks at the pages: what is wrong, the worst first, at most two causes.

Pure: what is known comes in, words go out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, NamedTuple

from gateway_app.models import SERVING, State
from gateway_app.ops import figures

#: A CRITICAL message that is not at its end for longer is stuck.
STUCK_AFTER: Final = timedelta(minutes=2)
MOST_CAUSES: Final = 2


class Level(Enum):
    """How bad it is, from best to worst."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILING = "failing"
    #: Nothing that is shown can be believed.
    BLIND = "blind"


class Word(NamedTuple):
    """A piece of the sentence: plain, strong, or the name of a service, which is linked."""

    text: str
    kind: str = "plain"


Sentence = tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """What is known of one service."""

    name: str
    states: Sequence[State]
    #: Since when some of its instances are not UP.
    troubled_since: datetime | None = None
    parked: int = 0
    parked_since: datetime | None = None
    #: Messages that come to its queue each minute on top of what is there; 0: it does not grow.
    grows_by_minute: float = 0.0
    #: Why it takes no messages; empty: it does.
    paused_for: str = ""
    paused_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that is judged."""

    now: datetime
    services: Sequence[ServiceFacts]
    #: Why the registry is not to be believed; empty: it is.
    registry_trouble: str = ""
    #: Why the broker is not to be seen; empty: it answers.
    broker_trouble: str = ""
    #: None: the balance is being made.
    unaccounted: int | None = 0
    critical_count: int = 0
    critical_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said."""

    level: Level
    sentence: Sentence


def judge(facts: Facts) -> Verdict:
    """Return what is to be said."""
    blind = facts.registry_trouble or facts.broker_trouble
    if blind:
        return Verdict(Level.BLIND, (Word("Cannot see. ", "strong"), Word(blind)))
    failing = [*_failing(facts)]
    causes = [*failing, *_degraded(facts)]
    level = Level.FAILING if failing else Level.DEGRADED if causes else Level.OK
    if not causes:
        return Verdict(level, _all_well(facts))
    sentence = [*_how_many(facts)]
    for number, cause in enumerate(causes[:MOST_CAUSES]):
        sentence += [Word("; ")] if number else []
        sentence += cause
    left = len(causes) - MOST_CAUSES
    return Verdict(level, (*sentence, Word(f"; and {left} more." if left > 0 else ".")))


def _all_well(facts: Facts) -> Sentence:
    count = len(facts.services)
    if not count:
        return (Word("No service has registered yet."),)
    words = "The one service is" if count == 1 else f"All {count} services are"
    return (Word(f"{words} up. "), Word("Nothing is to be done.", "strong"))


def _how_many(facts: Facts) -> Iterator[Word]:
    fully_up = sum(
        bool(each.states) and all(state == State.UP for state in each.states)
        for each in facts.services
    )
    yield Word(f"{fully_up} of {figures.plural(len(facts.services), 'service')} fully up. ")


def _failing(facts: Facts) -> Iterator[Sentence]:
    if facts.unaccounted:
        yield (
            Word(figures.plural(facts.unaccounted, "message"), "strong"),
            Word(" unaccounted for"),
        )
    for each in facts.services:
        if not any(state in SERVING or state is State.MAINTENANCE for state in each.states):
            yield (
                Word(each.name, "service"),
                Word(" has "),
                Word("no instance that serves", "strong"),
                Word(_since(each.troubled_since, facts.now)),
            )
    since = facts.critical_since
    if since is not None and facts.now - since > STUCK_AFTER:
        yield (
            Word(figures.plural(facts.critical_count, "CRITICAL message"), "strong"),
            Word(f" not handled, the oldest sent at {figures.instant(since, facts.now)}"),
        )


def _degraded(facts: Facts) -> Iterator[Sentence]:
    for each in facts.services:
        up = sum(state in SERVING for state in each.states)
        if up and any(state is State.DOWN for state in each.states):
            yield (
                Word(each.name, "service"),
                Word(" runs on "),
                Word(f"{up} of {len(each.states)} instances", "strong"),
                Word(_since(each.troubled_since, facts.now)),
            )
    for each in facts.services:
        if each.paused_for:
            yield (
                Word(each.name, "service"),
                Word(" is paused", "strong"),
                Word(f"{_since(each.paused_since, facts.now)} ({each.paused_for})"),
            )
    for each in sorted(facts.services, key=lambda service: -service.parked):
        if each.parked:
            yield (
                Word(each.name, "service"),
                Word(" has parked "),
                Word(figures.plural(each.parked, "message"), "strong"),
                Word(_since(each.parked_since, facts.now)),
            )
    for each in facts.services:
        if each.grows_by_minute and not each.paused_for:
            yield (
                Word("the queue of "),
                Word(each.name, "service"),
                Word(f" grows by {each.grows_by_minute:.1f}/min", "strong"),
            )


def _since(at: datetime | None, now: datetime) -> str:
    return "" if at is None else f" since {figures.instant(at, now)}"


class Fact(NamedTuple):
    """One line below the sentence."""

    icon: str
    css: str
    strong: str
    text: str


def facts_below(facts: Facts, balanced_at: datetime | None) -> list[Fact]:
    """Return at most three facts, in the same order whatever they say."""
    growing = max(facts.services, key=lambda each: each.grows_by_minute, default=None)
    found = [_balance(facts.unaccounted, balanced_at), _critical(facts)]
    if growing is not None and growing.grows_by_minute:
        by = f"{growing.grows_by_minute:.1f}/min"
        found.append(Fact("trending-up", "suspect", by, f"more wait for {growing.name}"))
    else:
        found.append(Fact("check", "up", "No queue", "grows"))
    return found


def _balance(unaccounted: int | None, balanced_at: datetime | None) -> Fact:
    if unaccounted is None or balanced_at is None:
        return Fact("loader", "muted", "Ledger", "being balanced")
    css = "down" if unaccounted else "up"
    icon = "octagon-x" if unaccounted else "check"
    text = f"ledger balanced {balanced_at:%H:%M:%S}"
    return Fact(icon, css, f"{unaccounted:,} unaccounted,", text)


def _critical(facts: Facts) -> Fact:
    if not facts.critical_count:
        return Fact("check", "up", "No CRITICAL message", "waits")
    seconds = (facts.now - (facts.critical_since or facts.now)).total_seconds()
    is_stuck = seconds > STUCK_AFTER.total_seconds()
    return Fact(
        "triangle-alert" if is_stuck else "check",
        "down" if is_stuck else "up",
        figures.plural(facts.critical_count, "CRITICAL message"),
        f"on the way, the oldest for {figures.duration_text(max(0.0, seconds))}",
    )
