"""What a test found of what it asked for; says what there was instead where that is not enough."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal

from messaging.testing.clock import text_of
from messaging.testing.facts import Fact, FactKind

#: Lines of a failure: the rest is counted.
MOST_LINES: Final = 40
_MOST_DATA: Final = 80


class Found(Sequence[Fact]):
    """Facts that match, in the order in which they happened. True where there is one.

    Args:
        wanted: what was asked for, as text.
        facts: those that match.
        instead: tells what there is to say where they are not what was expected.
    """

    def __init__(self, wanted: str, facts: Sequence[Fact], instead: Callable[[], str]) -> None:
        self._wanted = wanted
        self._facts = list(facts)
        self._instead = instead

    def __len__(self) -> int:
        return len(self._facts)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self._facts)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and not -len(self) <= index < len(self):
            __tracebackhide__ = True
            raise self._failure(f"number {index} of those")
        return self._facts[index]

    def __repr__(self) -> str:
        if self._facts:
            return f"<{len(self)} {self._wanted}: {', '.join(map(line_of, self._facts))}>"
        return f"<no {self._wanted}. {self._instead()}>"

    @property
    def once(self) -> Literal[True]:
        """True; raises AssertionError unless it happened exactly once."""
        __tracebackhide__ = True
        return self.times(1)

    @property
    def never(self) -> Literal[True]:
        """True; raises AssertionError if it happened."""
        __tracebackhide__ = True
        return self.times(0)

    def times(self, count: int) -> Literal[True]:
        """Return True; raise AssertionError unless it happened so many times."""
        __tracebackhide__ = True
        if len(self) != count:
            raise self._failure({0: "none", 1: "exactly one"}.get(count, f"exactly {count}"))
        return True

    @property
    def only(self) -> Fact:
        """The one fact there is; raises AssertionError if there is none, or another one."""
        __tracebackhide__ = True
        self.times(1)
        return self._facts[0]

    @property
    def data(self) -> list[Any]:
        """What the messages said, one after the other."""
        return [fact.data for fact in self._facts]

    def _failure(self, expected: str) -> AssertionError:
        return AssertionError(
            f"expected {expected} {self._wanted}, found {len(self)}.\n{self._instead()}"
        )


def told(facts: Sequence[Fact], waiting: Sequence[str]) -> str:
    """Return what has happened and what waits, for people: a line each."""
    lines = [f"  {line_of(fact)}" for fact in facts[-MOST_LINES:]]
    if len(facts) > MOST_LINES:
        lines.insert(0, f"  … {len(facts) - MOST_LINES} before that")
    text = "\n".join(["What happened:", *lines]) if lines else "Nothing happened."
    if waiting:
        text += "\n" + "\n".join(["What waits:", *(f"  {each}" for each in waiting)])
    return text


def line_of(fact: Fact) -> str:
    """Return a fact as people tell it."""
    when, what = text_of(fact.at), fact.type or "something unreadable"
    to = fact.target or "all"
    match fact.kind:
        case FactKind.SENT | FactKind.PUBLISHED:
            told = f"{fact.service} {fact.kind} {what} to {to} {_short(fact.data)}"
        case FactKind.FAILED:
            told = f"{fact.service}: attempt {fact.attempt} of {what} failed: {fact.error}"
        case FactKind.RETRIED:
            pause = text_of(fact.delay_seconds or 0.0)
            told = f"{fact.service}: {what} again in {pause}, as attempt {fact.attempt}"
        case FactKind.PARKED:
            told = f"{fact.service} parked {what}: {fact.reason}: {fact.error}"
        case FactKind.CRASHED:
            told = f"{fact.service} crashed: {fact.error}"
        case _:
            told = f"{fact.service} {fact.kind} {what} {_short(fact.data)}"
    return f"{when}: {told}"


def _short(data: Any) -> str:
    text = json.dumps(data, default=str)
    return text if len(text) <= _MOST_DATA else f"{text[:_MOST_DATA]}…"
