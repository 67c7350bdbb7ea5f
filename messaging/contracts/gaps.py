"""What stands between two schemas: where documents of the one are none of the other."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How much is known of a gap."""

    #: There are documents that the sender may send and the receiver does not take.
    BREAKS = "breaks"
    #: There may be: the schemas say something that is not understood here.
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True)
class Gap:
    """One reason why a receiver may not take what a sender sends."""

    #: The field, as ``customer.address[].street``; empty: the data as a whole.
    field: str
    verdict: Verdict
    #: One line for people: what is wanted, and what is sent.
    text: str


def below(field: str, name: str) -> str:
    """Return a property of a field."""
    return f"{field}.{name}" if field else name


def doubted(gaps: Iterable[Gap]) -> list[Gap]:
    """Return gaps that are there perhaps: more was compared than may be sent."""
    return [Gap(gap.field, Verdict.UNKNOWN, gap.text) for gap in gaps]
