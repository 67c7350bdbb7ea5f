"""The transport options, with their units, defaults and bounds."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from messaging.errors import ConfigurationError

_POSITIVE: Final = (
    "lease_seconds",
    "maintenance_seconds",
    "claim_batch",
    "turn_messages",
    "busy_seconds",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What ``transport_options`` may say. Names that are not here are ignored.

    kombu adds the retry policy of whoever published last to the same dictionary.
    """

    #: A consumer whose process lives but has not renewed for this long loses its leases.
    lease_seconds: float = 60.0
    #: Time between looks for dead consumers, replaced files and what there is to sweep.
    maintenance_seconds: float = 1.0
    #: A message waiting this long behind more urgent ones moves up one level; 0 is never.
    ageing_seconds: float = 60.0
    #: Most messages claimed at once for a consumer without a prefetch limit.
    claim_batch: int = 64
    #: Most messages delivered in one turn of an event loop. 1 where their handlers run inside it:
    #: an ack made there is stored before the next one begins.
    turn_messages: int = 1
    #: Whether publishers may hand messages to consumers of this connection (`handing`).
    takes_handed: bool = False
    #: ``normal``: survives the death of processes. ``full``: also a power cut; one fsync each.
    durability: str = "normal"
    #: Wait this long for the file's write lock, then raise BrokerBusy.
    busy_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            self._expect(name, getattr(self, name) > 0, "a number > 0")
        self._expect("ageing_seconds", self.ageing_seconds >= 0, "a number >= 0")
        self._expect("durability", self.durability in ("normal", "full"), "'normal' or 'full'")

    def _expect(self, name: str, is_met: bool, expected: str) -> None:
        if not is_met:
            raise ConfigurationError(
                f"transport_options[{name!r}]: expected {expected}, got {getattr(self, name)!r}"
            )

    @classmethod
    def parse(cls, transport_options: Mapping[str, Any] | None) -> "Options":
        """Return the options in kombu's dictionary, defaults for what it does not name.

        Raises:
            ConfigurationError: a value of the wrong type or out of bounds.
        """
        given = transport_options or {}
        values = {}
        for field in fields(cls):
            if field.name in given:
                values[field.name] = _converted(field.name, given[field.name], field.default)
        return cls(**values)


def _converted(name: str, value: Any, default: Any) -> Any:
    try:
        return type(default)(value)
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(
            f"transport_options[{name!r}]: expected {type(default).__name__}, got {value!r}"
        ) from exc
