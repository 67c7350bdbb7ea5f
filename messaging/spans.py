"""What traces show of the bus: nothing, or a span for each message sent and each one handled."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol

from messaging.envelope import Envelope, MessageKind

if TYPE_CHECKING:
    from messaging.config import MessagingConfig
    from messaging.registration import Identity


class Span(Protocol):
    """Something that takes a while, as traces show it."""

    def is_of(self, envelope: Envelope) -> None:
        """Note which message it is about."""

    def fail(self, error: str) -> None:
        """Note that it went wrong, though nothing is raised."""


class Spans(Protocol):
    """Makes the spans of one service. Within a block what is sent belongs to its span."""

    def sending(
        self, kind: MessageKind, message_type: str, target: str
    ) -> AbstractContextManager[Span | None]:
        """Cover the sending of a message; of a request also the wait for its answer."""

    def handling(self, envelope: Envelope) -> AbstractContextManager[Span | None]:
        """Cover the handling of one delivery, as what its sender's span has led to."""

    def serving(
        self, name: str, traceparent: str
    ) -> AbstractContextManager[tuple[Span | None, str]]:
        """Cover an HTTP request; yield the ``traceparent`` of what it leads to as well."""


class NoSpans:
    """Shows nothing. A ``traceparent`` is carried on as it came."""

    _nothing: Final = nullcontext[Span | None](None)

    def sending(
        self, kind: MessageKind, message_type: str, target: str
    ) -> AbstractContextManager[Span | None]:
        """Do nothing."""
        return self._nothing

    def handling(self, envelope: Envelope) -> AbstractContextManager[Span | None]:
        """Do nothing."""
        return self._nothing

    def serving(
        self, name: str, traceparent: str
    ) -> AbstractContextManager[tuple[Span | None, str]]:
        """Do nothing; what came goes on."""
        return nullcontext((None, traceparent))


def spans_for(config: "MessagingConfig", identity: "Identity") -> Spans:
    """Return what the settings ask for.

    Raises:
        ConfigurationError: OpenTelemetry is asked for, and not installed.
    """
    if not config.telemetry:
        return NoSpans()
    from messaging.opentelemetry_spans import start

    return start(identity.name, identity.version)
