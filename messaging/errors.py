"""Every exception of the bus, and whether sending again is safe.

::

    MessagingError                      base; its text is never empty
    ├─ ConfigurationError               a setting is missing or wrong: key, expected, got
    ├─ CodecError
    │   ├─ EncodeError                  the message cannot be written as JSON; not sent
    │   ├─ DecodeError                  what arrived is not an envelope
    │   │   └─ BadSignature             nobody can tell who said it
    │   └─ MessageTooLarge              over max_message_bytes; not sent
    ├─ PublishError                     NOT sent; safe to send again
    │   ├─ Unroutable                   the broker has nowhere to put it
    │   ├─ QueueFull                    too many messages wait for its service
    │   ├─ TooManyMessages              this process sends more than it may
    │   └─ PublishUncertain             maybe sent; send again only with the same message id
    │       └─ PartlyRefused            a broadcast that not every queue took; likewise
    ├─ BrokerError
    │   ├─ BrokerUnavailable            no connection; NOT sent, safe to send again
    │   │   └─ BrokerRecovering         back, perhaps without bindings; NOT sent, safe to repeat
    │   └─ BrokerBusy                   contention past its budget; NOT sent, safe to send again
    ├─ DeliveryError
    │   ├─ AlreadySettled               answered or settled a second time: a programming error
    │   └─ LeaseLost                    another consumer owns the delivery now; stop
    └─ RequestError
        ├─ NoHandler                    the service handles no such type; told to the requester
        ├─ ServiceNotFound              nobody of that name has ever started; not sent
        ├─ RequestTimeout               no answer in time; the outcome is unknown
        └─ RemoteError                  the handler answered with an error

    HandlerSignal                       control flow, raised by handlers, never an error
    ├─ Retry                            try again later
    └─ Reject                           park as a dead letter now
        └─ InvalidData                  the data is not what the handler takes
"""

from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from messaging.envelope import Envelope


class MessagingError(Exception):
    """The message bus could not do what was asked."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").split("\n", 1)[0]


class ConfigurationError(MessagingError):
    """A setting is missing or wrong: the text names the key, what was expected, what was got."""


class CodecError(MessagingError):
    """A message could not be turned into bytes, or bytes into a message."""


class EncodeError(CodecError):
    """The message cannot be written as JSON. It was not sent; sending it again fails again."""


class DecodeError(CodecError):
    """What arrived is not an envelope this version understands.

    Attributes:
        reason: the dead-letter reason, ``invalid``, ``too_large`` or ``bad_signature``.
    """

    def __init__(self, text: str, *, reason: str = "invalid") -> None:
        super().__init__(text)
        self.reason = reason


class BadSignature(DecodeError):
    """What arrived is not signed, or by nobody who may say it: forged, altered, or misdirected.

    Attributes:
        envelope: what it says of itself, where that can be read; nobody vouches for it.
    """

    def __init__(self, text: str, envelope: "Envelope | None" = None) -> None:
        super().__init__(text, reason="bad_signature")
        self.envelope = envelope


class MessageTooLarge(CodecError):
    """The encoded message is larger than ``max_message_bytes``. It was not sent.

    Attributes:
        size: bytes of the encoded message.
        limit: bytes allowed.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"message of {size} bytes is over the limit of {limit} bytes")
        self.size = size
        self.limit = limit


class PublishError(MessagingError):
    """The message was NOT sent. Sending it again is safe."""


class Unroutable(PublishError):
    """No queue is bound for this exchange (``""``: the default one) and key: NOT sent."""

    def __init__(self, exchange: str, routing_key: str) -> None:
        super().__init__(
            f"no queue is bound to {exchange or 'the default exchange'} "
            f"for routing key {routing_key!r}"
        )
        self.exchange = exchange
        self.routing_key = routing_key


class QueueFull(PublishError):
    """``max_queue_length`` messages wait for the service. NOT sent; safe to send again, later.

    Attributes:
        service: whose queue.
        length: how many messages wait there.
    """

    def __init__(self, service: str, length: int) -> None:
        super().__init__(f"{length} messages wait for {service!r} already")
        self.service = service
        self.length = length


class TooManyMessages(PublishError):
    """This process sends more than ``send_rate``. NOT sent; safe to send again, later.

    Attributes:
        rate: messages a second.
    """

    def __init__(self, rate: float) -> None:
        super().__init__(f"over the limit of {rate:g} messages a second of this process")
        self.rate = rate


class PublishUncertain(PublishError):
    """The connection to the broker or the outbox broke before the answer: it may have been sent.

    Send it again only with the same message id, so that a second copy can be recognised.
    """


class PartlyRefused(PublishUncertain):
    """A subscriber's queue refused a broadcast, which others may have. Nothing else is wrong."""


class BrokerError(MessagingError):
    """The broker did not do its part."""


class BrokerUnavailable(BrokerError):
    """No connection to the broker. The message was NOT sent; sending it again is safe."""


class BrokerRecovering(BrokerUnavailable):
    """Just back, it may have lost who subscribes. A broadcast was NOT sent; safe to send again."""


class BrokerBusy(BrokerError):
    """Others kept the broker's file locked past the budget. NOT sent; sending again is safe."""


class DeliveryError(MessagingError):
    """One attempt to hand over a message went wrong."""


class AlreadySettled(DeliveryError):
    """This delivery or request has been answered before. A programming error; do not repeat."""


class LeaseLost(DeliveryError):
    """The lease on a delivery is over: the message has been or will be delivered again."""

    def __init__(self, token: Any) -> None:
        super().__init__(f"lease {token!r} is no longer held by this consumer")
        self.token = token


class RequestError(MessagingError):
    """A request brought no answer that can be used."""


class NoHandler(RequestError):
    """The service has no handler for a request of this type. Asking again changes nothing."""

    code: ClassVar = "no_handler"


class ServiceNotFound(RequestError):
    """No service of that name has ever started on this broker. The request was not sent.

    Attributes:
        name: the service asked for.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"no service named {name!r} has ever started on this broker")
        self.name = name


class RequestTimeout(RequestError):
    """No answer came in time; it may have been handled. Ask again only what may be done twice.

    Attributes:
        seconds: how long was waited.
    """

    def __init__(self, target: str, message_type: str, seconds: float) -> None:
        super().__init__(
            f"no answer from {target!r} to {message_type!r} within {seconds:g} s; "
            "whether it was handled is unknown"
        )
        self.seconds = seconds


class RemoteError(RequestError):
    """The handler of the other service answered with an error.

    Never rebuilt into the other side's exception class: a name on the wire loads no code.

    Attributes:
        type: class name of the error at the other side.
        message: its text.
        retryable: whether the other side says that asking again may help.
        code: one of `REJECT_CODES`, ``no_handler``, or empty where the handler failed.
    """

    def __init__(
        self, type: str, message: str, *, retryable: bool = False, code: str = ""
    ) -> None:
        super().__init__(f"{type}: {message}")
        self.type = type
        self.message = message
        self.retryable = retryable
        self.code = code


class HandlerSignal(Exception):
    """Raised by a handler to say what shall become of the message."""


class Retry(HandlerSignal):
    """Try this message again.

    Args:
        delay_seconds: wait that long first; None leaves it to the retry policy.
    """

    def __init__(self, delay_seconds: float | None = None) -> None:
        super().__init__(f"again in {delay_seconds} s" if delay_seconds is not None else "again")
        self.delay_seconds = delay_seconds


#: What a handler can say to programs when it refuses a message. Each has an HTTP status.
REJECT_CODES: Final = frozenset({"rejected", "invalid", "not_found", "conflict", "forbidden"})


class Reject(HandlerSignal):
    """Park this message as a dead letter now, without another attempt; answer a request with it.

    Attributes:
        reason: text for people.
        code: one of `REJECT_CODES`, for programs.

    Args:
        reason: stored with the dead letter, or told to the requester.
        code: None: what the class says, ``rejected`` unless a subclass says something else.

    Raises:
        ValueError: there is no such code.
    """

    code: str = "rejected"

    def __init__(self, reason: str, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        if code is not None:
            self.code = code
        if self.code not in REJECT_CODES:
            raise ValueError(
                f"{type(self).__name__}: expected a code out of {sorted(REJECT_CODES)}, "
                f"got {self.code!r}"
            )


class InvalidData(Reject):
    """The data is not what the handler takes. Sending the same again changes nothing.

    Raised by the bus where ``on_message`` has a ``schema``; handlers may raise it as well. What
    was no request becomes a dead letter with the reason ``invalid``.
    """

    code = "invalid"
