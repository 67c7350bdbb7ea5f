"""Parking: what becomes of a message that is given up."""

import base64
import traceback
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from messaging import codec
from messaging.envelope import Envelope, MessagePriority, new_message_id
from messaging.events import emit, message_dead_lettered
from messaging.registration import DEAD_LETTER

if TYPE_CHECKING:
    from messaging.communicator import ServiceCommunicator


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


class Parking:
    """Hands dead letters to the gateway, which keeps them."""

    def __init__(self, communicator: "ServiceCommunicator") -> None:
        self._communicator = communicator

    def park(
        self, envelope: Envelope, reason: DeadLetterReason, error: BaseException | str
    ) -> None:
        """Give up a message of this service; on return the record of it is safe.

        Raises:
            MessagingError: the record could be put nowhere. The message must not be acked.
        """
        self._keep(
            DeadLetter(
                message_id=envelope.id,
                service=self._communicator.name,
                reason=reason,
                error=_text(error),
                traceback=_traceback(error),
                attempts=envelope.attempt,
                service_version=self._communicator.identity.version,
                envelope=codec.to_mapping(envelope),
            ),
            envelope,
        )

    def park_raw(
        self,
        body: bytes,
        headers: Mapping[str, Any],
        reason: DeadLetterReason,
        error: BaseException | str,
    ) -> None:
        """Give up something that is no message; as `park`."""
        self._keep(
            DeadLetter(
                message_id=new_message_id(),
                service=self._communicator.name,
                reason=reason,
                error=_text(error),
                service_version=self._communicator.identity.version,
                raw_body=body,
                raw_headers=headers,
            ),
            None,
        )

    def _keep(self, letter: DeadLetter, envelope: Envelope | None) -> None:
        self.keep(letter)
        emit(
            message_dead_lettered,
            self._communicator.name,
            envelope=envelope,
            reason=letter.reason,
            error=letter.error,
        )

    def keep(self, letter: DeadLetter) -> None:
        """Send a dead letter to the gateway. The gateway's own communicator stores it instead."""
        self._communicator.send_to_service(
            self._communicator.bus.config.gateway_name,
            DEAD_LETTER,
            letter.to_json(),
            priority=MessagePriority.HIGH,
        )


def _text(error: BaseException | str) -> str:
    if isinstance(error, str):
        return error
    return f"{type(error).__name__}: {error}"


def _traceback(error: BaseException | str) -> str:
    if isinstance(error, str):
        return ""
    return "".join(traceback.format_exception(error))
