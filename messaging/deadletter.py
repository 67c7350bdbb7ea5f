"""What is kept of a message that was given up: the value object that travels to the gateway."""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class DeadLetterReason(StrEnum):
    """Why a message was given up."""

    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    NO_HANDLER = "no_handler"
    INVALID = "invalid"
    EXPIRED = "expired"
    REJECTED = "rejected"
    KILLED_WORKER = "killed_worker"
    BAD_SIGNATURE = "bad_signature"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that one service gave up, with everything needed to understand and replay it."""

    #: The message's id, or a new one where the body could not be read.
    message_id: str
    service: str
    reason: DeadLetterReason
    #: Text for people.
    error: str
    traceback: str = ""
    attempts: int = 0
    service_version: str = ""
    #: The envelope as JSON; None where the body was none.
    envelope: Mapping[str, Any] | None = None
    #: What came, byte for byte, where it was no envelope.
    raw_body: bytes | None = None
    #: Content type and headers of such a body.
    raw_headers: Mapping[str, Any] | None = None
    #: Whether nobody can tell that it was not handled: its effect may be there already.
    may_have_been_handled: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the data of a ``bus.dead_letter`` message; the raw body is compressed."""
        data: dict[str, Any] = {
            "message_id": self.message_id,
            "service": self.service,
            "reason": self.reason,
            "error": self.error,
            "traceback": self.traceback,
            "attempts": self.attempts,
            "service_version": self.service_version,
            "envelope": self.envelope,
            "raw_headers": self.raw_headers,
            "may_have_been_handled": self.may_have_been_handled,
        }
        if self.raw_body is not None:
            data["raw_body"] = base64.b64encode(zlib.compress(self.raw_body)).decode()
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DeadLetter":
        """Return the dead letter that such data describes."""
        values = dict(data)
        raw_body = values.pop("raw_body", None)
        if raw_body is not None:
            raw_body = zlib.decompress(base64.b64decode(raw_body))
        values["reason"] = DeadLetterReason(values["reason"])
        return cls(raw_body=raw_body, **values)
