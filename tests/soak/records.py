"""What the sender wrote down: each message that was accepted, or what it was told instead."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from tests.soak.names import SERVICES

#: Errors that promise that it was not sent. After any other nobody knows: an effect is as right as
#: none.
NOT_SENT: Final = (
    "BrokerUnavailable",
    "PublishError",
    "ServiceNotFound",
    "HTTP ConnectError",
    "HTTP 503",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One message, as its sender saw it."""

    #: Unique in a run; in the message's data as well.
    number: str
    #: ``command``, ``event``, ``request``, ``http`` or ``respond-async``.
    how: str
    #: Empty: all that subscribe.
    service: str
    priority: str
    begun_at: float
    ended_at: float
    #: Empty where it was not accepted, and for requests: their answer is all there is.
    message_id: str = ""
    #: Empty: it was accepted, or answered.
    error: str = ""
    #: Of the error, for people.
    text: str = ""

    @property
    def is_accepted(self) -> bool:
        return bool(self.message_id)

    @property
    def is_under_custody(self) -> bool:
        return self.priority == "CRITICAL" or self.how == "respond-async"

    @property
    def may_have_effect(self) -> bool:
        return self.is_accepted or self.error not in NOT_SENT

    @property
    def receivers(self) -> tuple[str, ...]:
        return (self.service,) if self.service else SERVICES


class Notebook:
    """A file of sendings. What `write` has returned for is on the disk."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, sending: Sending) -> None:
        os.write(self._descriptor, (json.dumps(asdict(sending)) + "\n").encode())
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(paths: Iterable[Path]) -> list[Sending]:
    """Return all that was written down; a last line without an end counts as not written."""
    found = []
    for path in paths:
        whole, _, _ = path.read_text().rpartition("\n")
        found += [Sending(**json.loads(line)) for line in whole.splitlines()]
    return found
