"""An OpenTelemetry collector for tests: takes OTLP over HTTP, and keeps the spans."""

import gzip
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class Seen:
    """A span as it came."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    starts_at: float
    ends_at: float
    is_error: bool
    attributes: dict[str, Any]


class Collector:
    """A server on a free port, for the length of a ``with`` block."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector._take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def trace_of(self, name: str) -> list[Seen]:
        """Return the spans of the trace that has one of this name, by their beginning."""
        found = {span.trace_id for span in self.spans if span.name == name}
        spans = [span for span in list(self.spans) if span.trace_id in found]
        return sorted(spans, key=lambda span: span.starts_at)

    def _take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            values = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Seen(
                            service=values["service.name"],
                            name=span.name,
                            kind=span.kind,
                            trace_id=span.trace_id.hex(),
                            span_id=span.span_id.hex(),
                            parent_id=span.parent_span_id.hex(),
                            starts_at=span.start_time_unix_nano / 1e9,
                            ends_at=span.end_time_unix_nano / 1e9,
                            is_error=span.status.code == 2,
                            attributes={
                                each.key: each.value.string_value for each in span.attributes
                            },
                        )
                    )
