"""Parking: what becomes of a message that is given up."""

import json
import logging
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kombu.message import Message

from messaging import codec
from messaging.compose import id_of
from messaging.deadletter import DeadLetter, DeadLetterReason
from messaging.envelope import Envelope, MessagePriority, new_message_id
from messaging.errors import BadSignature, PublishError
from messaging.events import emit, message_dead_lettered
from messaging.registration import DEAD_LETTER
from messaging.text import storable

if TYPE_CHECKING:
    from messaging.sender import Sender


logger = logging.getLogger(__name__)


class Parking:
    """Hands dead letters to the gateway, which keeps them."""

    def __init__(self, sender: "Sender") -> None:
        self._sender = sender

    def park(
        self,
        envelope: Envelope,
        reason: DeadLetterReason,
        error: BaseException | str,
        *,
        attempts: int | None = None,
        may_have_been_handled: bool = False,
    ) -> None:
        """Give up a message of this service, in the caller's transaction if there is one.

        On return the record of it is safe, or will be with that transaction.

        Raises:
            MessagingError, DatabaseError: the record was put nowhere. The message must not be
                acked.
        """
        self._keep(
            DeadLetter(
                message_id=envelope.id,
                service=self._sender.name,
                reason=reason,
                error=_text(error),
                traceback=_traceback(error),
                attempts=envelope.attempt if attempts is None else attempts,
                service_version=self._sender.identity.version,
                envelope=codec.to_mapping(envelope),
                may_have_been_handled=may_have_been_handled,
            ),
            envelope,
        )

    def park_unsent(self, envelope: Envelope, error: PublishError) -> None:
        """Give up a message of this service that was not sent; as `park`.

        The dead letter is its target's: replayed, it goes there.
        """
        self._keep(
            DeadLetter(
                message_id=envelope.id,
                service=envelope.target,
                reason=DeadLetterReason.REJECTED,
                error=_text(error),
                envelope=codec.to_mapping(envelope),
            ),
            envelope,
        )

    def park_unproved(self, envelope: Envelope, error: BadSignature) -> None:
        """Give up what nobody can tell to be of who it says; as `park`.

        Under an id of its own: whoever has made it up may have taken that of another message. The
        same once more is one dead letter.
        """
        said = codec.to_mapping(envelope)
        text = json.dumps(said, sort_keys=True, default=str)
        self._keep(
            DeadLetter(
                message_id=id_of(self._sender.name, f"unproved/{text}"),
                service=self._sender.name,
                reason=DeadLetterReason.BAD_SIGNATURE,
                error=_text(error),
                service_version=self._sender.identity.version,
                envelope=said,
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
                service=self._sender.name,
                reason=reason,
                error=_text(error),
                service_version=self._sender.identity.version,
                raw_body=body,
                raw_headers=headers,
            ),
            None,
        )

    def park_delivery(
        self, message: Message, reason: DeadLetterReason, error: BaseException | str
    ) -> None:
        """Give up what a broker has delivered and nobody can read, or believe; as `park`."""
        if isinstance(error, BadSignature) and error.envelope is not None:
            self.park_unproved(error.envelope, error)
            return
        body = message.body
        raw = body if isinstance(body, bytes) else str(body).encode(errors="surrogateescape")
        headers = {
            "content_type": message.content_type,
            "content_encoding": message.content_encoding,
            "headers": {str(key): repr(value) for key, value in (message.headers or {}).items()},
        }
        self.park_raw(raw, headers, reason, error)

    def _keep(self, letter: DeadLetter, envelope: Envelope | None) -> None:
        self.keep(letter)
        what = envelope.type if envelope else "unreadable message"
        logger.warning(
            "%s %s parked: %s: %s", what, letter.message_id, letter.reason, letter.error
        )
        emit(
            message_dead_lettered,
            self._sender.name,
            envelope=envelope,
            reason=letter.reason,
            error=letter.error,
        )

    def keep(self, letter: DeadLetter) -> None:
        """Send a dead letter to the gateway, under custody, each one once.

        The gateway's own communicator stores it instead.
        """
        generation = (letter.envelope or {}).get("generation", 0)
        self._sender.send_to_service(
            self._sender.bus.config.gateway_name,
            DEAD_LETTER,
            letter.to_json(),
            priority=MessagePriority.CRITICAL,
            dedup_key=dead_letter_key(letter.message_id, letter.service, generation),
        )


def dead_letter_key(message_id: str, service: str, generation: int) -> str:
    """Return the dedup key of a dead letter: however often it is given up, there is one."""
    return f"dead/{message_id}/{service}/{generation}"


def _text(error: BaseException | str) -> str:
    # It may hold what no message can: file names, what others sent.
    return storable(error if isinstance(error, str) else f"{type(error).__name__}: {error}")


def _traceback(error: BaseException | str) -> str:
    if isinstance(error, str):
        return ""
    return storable("".join(traceback.format_exception(error)))
