"""A known trap: a way to set this up wrong, with an id, what it means, and how to mend it."""

from dataclasses import dataclass

from django.core.checks import CheckMessage, Error, Warning


@dataclass(frozen=True, slots=True)
class Trap:
    """What can be wrong. Found by a system check or by the doctor, under the same id."""

    #: ``messaging.W001``: the package, E for what does not work or W for what will bite.
    id: str
    #: What it means, one line for people.
    meaning: str
    #: How to mend it, one line that names the setting.
    fix: str

    @property
    def is_error(self) -> bool:
        """Whether it does not work as it is."""
        return self.id.rpartition(".")[2].startswith("E")

    def found(self, text: str) -> CheckMessage:
        """Return that it was found: the text says what was seen."""
        kind = Error if self.is_error else Warning
        return kind(text, hint=self.fix, id=self.id)
