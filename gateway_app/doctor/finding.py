"""What a check of the doctor finds."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from messaging.traps import Trap


class Grade(Enum):
    """How a check went."""

    FINE = "fine"
    #: It works, and something about it should be known.
    WARNING = "warning"
    BROKEN = "broken"
    #: What it needs is broken.
    NOT_LOOKED_AT = "not looked at"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    name: str
    grade: Grade
    #: What was seen.
    text: str
    #: Of the trap that was found, and how to mend it; empty where none was.
    id: str = ""
    fix: str = ""
    #: Set by who asked the layer.
    layer: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "layer": self.layer,
            "check": self.name,
            "grade": self.grade.value,
            "id": self.id,
            "text": self.text,
            "fix": self.fix,
        }


class LayerBroken(Exception):
    """A layer does not work: what needs it need not be looked at.

    Attributes:
        finding: what is said of it.
    """

    def __init__(self, name: str, trap: Trap, text: str) -> None:
        super().__init__(text)
        self.finding = trapped(name, trap, text)


def fine(name: str, text: str) -> Finding:
    """Return that a check went well."""
    return Finding(name, Grade.FINE, text)


def trapped(name: str, trap: Trap, text: str) -> Finding:
    """Return that a check found a trap; the text says what was seen."""
    grade = Grade.BROKEN if trap.is_error else Grade.WARNING
    return Finding(name, grade, " ".join(text.split()), trap.id, trap.fix)
