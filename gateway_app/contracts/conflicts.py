"""Which versions that run do not take what others send, right now."""

from collections.abc import Iterable
from dataclasses import dataclass

from messaging.contracts.checking import Finding, Grade, between
from messaging.contracts.contract import Contract


@dataclass(frozen=True, slots=True)
class Conflict:
    """One message that one side sends and the other does not take, or perhaps does not."""

    sender: Contract
    receiver: Contract
    finding: Finding


def conflicts(contracts: Iterable[Contract]) -> list[Conflict]:
    """Return every conflict between declared senders and the receivers that run with them.

    Versions of one service are held against each other, too: while both run, either may get what
    the other sends. What is sent to a service that never registered is none.
    """
    known = list(contracts)
    found = [
        Conflict(sender, receiver, finding)
        for sender in known
        for receiver in known
        for finding in between(sender, receiver)
        if finding.grade is not Grade.NOTE
    ]
    return sorted(found, key=lambda each: list(Grade).index(each.finding.grade))
