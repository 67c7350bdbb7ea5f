"""OpenTelemetry's spans for the bus. Only loaded where the setting ``telemetry`` asks for them.

A program that has set OpenTelemetry up itself keeps its own provider. Otherwise spans go to
``OTEL_EXPORTER_OTLP_ENDPOINT`` by OTLP over HTTP, as OpenTelemetry's own variables say. Names and
attributes: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from messaging import context as bus_context
from messaging.envelope import Envelope, MessageKind
from messaging.errors import ConfigurationError
from messaging.registration import PERISHABLE

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as exc:
    raise ConfigurationError(
        "MESSAGING['telemetry']: OpenTelemetry is not installed: "
        "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
    ) from exc

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_SYSTEM: Final = {"messaging.system": "celery"}


class BusSpan:
    """One of OpenTelemetry's spans."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def is_of(self, envelope: Envelope) -> None:
        """Note which message it is about; never what it says."""
        self._span.set_attributes(
            {
                "messaging.message.id": envelope.id,
                "messaging.message.conversation_id": envelope.correlation_id,
                "messaging.destination.name": envelope.target or envelope.type,
                "bus.message.type": envelope.type,
                "bus.message.kind": envelope.kind.value,
                "bus.message.priority": envelope.priority.value,
                "bus.message.source": envelope.source,
                "bus.message.generation": envelope.generation,
            }
        )

    def fail(self, error: str) -> None:
        """Note that it went wrong."""
        self._span.set_status(StatusCode.ERROR, error)


class OpenTelemetrySpans:
    """Makes spans with the provider of this process."""

    def __init__(self, version: str) -> None:
        self._tracer = trace.get_tracer("messaging", version)

    @contextmanager
    def sending(self, kind: MessageKind, message_type: str, target: str) -> Iterator[BusSpan]:
        """Cover the sending of a message; of a request also the wait for its answer."""
        is_request = kind is MessageKind.REQUEST
        with self._tracer.start_as_current_span(
            f"{'request' if is_request else 'send'} {message_type}",
            context=_parent(bus_context.current_trace()),
            kind=SpanKind.CLIENT if is_request else SpanKind.PRODUCER,
            attributes={**_SYSTEM, "messaging.operation.name": "send"},
        ) as span:
            yield BusSpan(span)

    @contextmanager
    def handling(self, envelope: Envelope) -> Iterator[BusSpan | None]:
        """Cover the handling of one delivery, unless it is one of those that come all the time."""
        if envelope.type in PERISHABLE:
            yield None
            return
        is_request = envelope.kind is MessageKind.REQUEST
        with self._tracer.start_as_current_span(
            f"handle {envelope.type}",
            context=_extracted(envelope.traceparent),
            kind=SpanKind.SERVER if is_request else SpanKind.CONSUMER,
            attributes={**_SYSTEM, "messaging.operation.name": "process"},
        ) as span:
            found = BusSpan(span)
            found.is_of(envelope)
            yield found

    @contextmanager
    def serving(self, name: str, traceparent: str) -> Iterator[tuple[BusSpan, str]]:
        """Cover an HTTP request. What is raised may be an answer: `BusSpan.fail` tells."""
        with self._tracer.start_as_current_span(
            name,
            context=_extracted(traceparent),
            kind=SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield BusSpan(span), _current() or traceparent


def start(service: str, version: str) -> OpenTelemetrySpans:
    """Return the spans of a service; set OpenTelemetry up unless the program has done so."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        provider = TracerProvider(
            resource=Resource.create({"service.name": service, "service.version": version})
        )
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
    bus_context.follow_spans(_current)
    return OpenTelemetrySpans(version)


def _current() -> str | None:
    """Return the ``traceparent`` of the span that is current here; None: there is none."""
    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return None
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"


def _parent(traceparent: str | None) -> Context | None:
    """Return what a new span belongs to; None: the span that is current here, if there is one."""
    return None if _current() is not None else _extracted(traceparent)


def _extracted(traceparent: str | None) -> Context:
    return _PROPAGATOR.extract({"traceparent": traceparent} if traceparent else {}, Context())
