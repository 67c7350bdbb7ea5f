"""The envelope: one immutable message with its headers. Knows no broker, no Django, no Celery."""

import copyreg
import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import uuid_utils

from messaging.clock import BUS_CLOCK

ENVELOPE_VERSION: Final = 1

#: Dot-separated words, as routing keys of a topic exchange are.
TYPE_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
#: AMQP limits a routing key to 255 bytes; the rest is kept for a namespace.
MAX_TYPE_LENGTH: Final = 200
#: No dots: `<service>.custody` and `reply.<service>.…` are queues of the same service.
SERVICE_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")

#: Names remembered as valid or not; they come from outside, so not all of them.
_NAMES: Final = 1024

#: Longest id that databases store.
MAX_ID_LENGTH: Final = 200
#: Counts fit into the whole numbers of every database.
LARGEST_COUNT: Final = 2**31 - 1

NO_HEADERS: Final[Mapping[str, Any]] = MappingProxyType({})


def read_only(headers: Mapping[str, Any]) -> MappingProxyType[str, Any]:
    """Return a copy of these headers that nobody can change."""
    return MappingProxyType(dict(headers))


# Envelopes travel to the children of a prefork pool; the standard library cannot pickle a
# read-only mapping by itself.
copyreg.pickle(MappingProxyType, lambda headers: (read_only, (dict(headers),)))
# A forked child must not repeat the random numbers of its parent.
os.register_at_fork(after_in_child=uuid_utils.reseed_rng)


class MessagePriority(StrEnum):
    """How urgent a message is. Always by name: the number differs with the broker."""

    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class MessageKind(StrEnum):
    """What is wanted of the receiver."""

    #: To one service, no answer wanted.
    COMMAND = "command"
    #: To every service that subscribes; said in the past tense.
    EVENT = "event"
    #: To one service, an answer is wanted.
    REQUEST = "request"
    #: The answer to a request.
    REPLY = "reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One message as it was said. Attempts to hand it over are deliveries, not envelopes."""

    #: UUIDv7, set by the sender, the same for every copy and every attempt.
    id: str
    #: What it is about, dot-separated: ``get.user.details``.
    type: str
    kind: MessageKind
    #: The service that said it.
    source: str
    #: The service it is for; empty for events.
    target: str = ""
    priority: MessagePriority = MessagePriority.NORMAL
    #: The payload, any JSON value.
    data: Any = None
    #: When it was sent, by the sender's clock; with a delay, when it is due.
    created_at: datetime
    #: After this instant nobody may handle it any more; None: never.
    expires_at: datetime | None = None
    #: The same for a whole conversation; the id of its first message unless given.
    correlation_id: str
    #: Id of the message during whose handling this one was sent.
    causation_id: str | None = None
    #: Queue for the answer; requests only.
    reply_to: str | None = None
    #: 1 at first; set higher when a retry is published.
    attempt: int = 1
    #: The service that keeps the message until its outcome, where not the source.
    custodian: str | None = None
    #: 0, and 1 more with each replay.
    generation: int = 0
    #: Messages of one key to one receiver are handled one at a time, in order; see
    #: `custody.ordering`.
    ordering_key: str | None = None
    #: W3C trace context, carried on as it came.
    traceparent: str | None = None
    #: Free for applications; JSON values.
    headers: Mapping[str, Any] = field(default_factory=lambda: NO_HEADERS)
    version: int = ENVELOPE_VERSION
    #: Of who answers for it, see `signing`; set when it is encoded.
    signature: str | None = None

    def is_expired(self, now: datetime) -> bool:
        """Return whether nobody may handle this message at that instant any more."""
        return self.expires_at is not None and now > self.expires_at

    def for_subscriber(self, service: str, custodian: str) -> "Envelope":
        """Return the copy of a broadcast for one service, answered for by another one."""
        return replace(self, target=service, custodian=custodian, signature=None)

    def replayed_to(self, service: str, custodian: str) -> "Envelope":
        """Return the same message to be handled anew by one service, now, whenever it was said.

        Answered for by whoever replays it. A whole broadcast, which the gateway gave up before it
        made copies of it, stays one.
        """
        is_whole = self.kind is MessageKind.EVENT and not self.target and self.custodian
        return replace(
            self,
            target="" if is_whole else service,
            generation=self.generation + 1,
            custodian=custodian,
            attempt=1,
            expires_at=None,
            signature=None,
        )

    def next_attempt(self, attempt: int) -> "Envelope":
        """Return the same message with its attempt count set."""
        return replace(self, attempt=attempt)


def new_message_id() -> str:
    """Return a new UUIDv7 as text: unique, and ordered by the time of its making."""
    return str(uuid_utils.uuid7())


def utc_now() -> datetime:
    """Return the present instant, aware, in UTC."""
    return BUS_CLOCK.utc_now()


def expiry(created_at: datetime, expires_in: float | None) -> datetime | None:
    """Return the instant ``expires_in`` seconds after ``created_at``; None stays None."""
    return None if expires_in is None else created_at + timedelta(seconds=expires_in)


def is_message_type(text: object) -> bool:
    """Return whether this is a message type: words of letters, digits, - and _, joined by dots."""
    return isinstance(text, str) and len(text) <= MAX_TYPE_LENGTH and _is_type(text)


def is_storable_id(text: str) -> bool:
    """Return whether every database stores this id: not too long, no NUL, no half of a pair."""
    return (
        0 < len(text) <= MAX_ID_LENGTH
        and "\0" not in text
        and (text.isascii() or not any("\ud800" <= each <= "\udfff" for each in text))
    )


def is_ordering_key(text: object) -> bool:
    """Return whether this is an ordering key: any text that databases store, up to 200 long."""
    return isinstance(text, str) and is_storable_id(text)


def is_service_name(text: object) -> bool:
    """Return whether this is a service name: letters, digits, - and _, at most 100."""
    return isinstance(text, str) and _is_service_name(text)


# The few names of a system are checked for every message that comes in or goes out.
@functools.lru_cache(_NAMES)
def _is_type(text: str) -> bool:
    return TYPE_PATTERN.fullmatch(text) is not None


@functools.lru_cache(_NAMES)
def _is_service_name(text: str) -> bool:
    return SERVICE_PATTERN.fullmatch(text) is not None
