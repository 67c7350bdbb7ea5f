"""What a page is asked: which stretch of time, whose rights, which choices."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from gateway_app.ops.rights import Right, Rights

T = TypeVar("T")

#: What can be chosen, with how far it goes back.
RANGES: Final[Mapping[str, timedelta]] = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}


class BadQuestion(ValueError):
    """A parameter of the address makes no sense; the text says which and why."""


class NotThere(LookupError):
    """What a page is about is not on record; the text says so, for people."""


@dataclass(frozen=True)
class Question:
    """One look at a page.

    Attributes:
        now: the instant it is about: the present, or what ``?at=`` says.
        rights: of who looks.
        parameters: of the address, the last of each name.
        is_frozen: whether ``?at=`` was given.
        arguments: of the path, such as the id of a message.
    """

    now: datetime
    rights: Rights
    parameters: Mapping[str, str] = field(default_factory=dict)
    is_frozen: bool = False
    arguments: Mapping[str, str] = field(default_factory=dict)
    _known: dict[Hashable, Any] = field(default_factory=dict)

    @property
    def may_operate(self) -> bool:
        """Whether buttons are shown."""
        return Right.OPERATE in self.rights

    @property
    def may_see_payloads(self) -> bool:
        """Whether payloads are shown as they are."""
        return Right.PAYLOAD in self.rights

    def range(self, choices: tuple[str, ...]) -> str:
        """Return the name of the range that was chosen, of these; the first one where none was.

        Raises:
            BadQuestion: it is none of them.
        """
        chosen = self.parameters.get("range") or choices[0]
        if chosen not in choices:
            raise BadQuestion(f"range must be one of {', '.join(choices)}")
        return chosen

    def once(self, read: Callable[["Question"], T]) -> T:
        """Return what a function reads for this look; regions that need the same share it."""
        if read not in self._known:
            self._known[read] = read(self)
        found: T = self._known[read]
        return found

    def address(self, **changes: str | None) -> str:
        """Return the query string with some parameters changed; None takes one out."""
        merged = {**self.parameters, **changes}
        kept = {name: value for name, value in merged.items() if value is not None}
        return f"?{urlencode(sorted(kept.items()))}" if kept else "?"


def question(
    parameters: Mapping[str, str],
    rights: Rights,
    now: datetime,
    arguments: Mapping[str, str] | None = None,
) -> Question:
    """Return the question that an address asks.

    Raises:
        BadQuestion: ``at`` is no instant.
    """
    at = parameters.get("at")
    if at:
        # A plus sign that nobody encoded has become a space.
        text = at.replace(" ", "+")
        try:
            instant = datetime.fromisoformat(text)
        except ValueError as exc:
            raise BadQuestion("at must be an instant such as 2026-01-31T14:05:00Z") from exc
        now = min(instant.replace(tzinfo=instant.tzinfo or now.tzinfo), now)
    return Question(now, rights, dict(parameters), bool(at), arguments or {})
