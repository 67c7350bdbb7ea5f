"""Which message is being handled here: carried on to every send, without the handler's help."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from messaging.envelope import Envelope

_current: ContextVar[Envelope | None] = ContextVar("messaging_current", default=None)
_trace: ContextVar[str | None] = ContextVar("messaging_trace", default=None)


def current_message() -> Envelope | None:
    """Return the message this thread or task is handling; None outside of handlers."""
    return _current.get()


#: Tells the span that is current here, where there are spans.
_span_of: Callable[[], str | None] | None = None


def follow_spans(current: Callable[[], str | None]) -> None:
    """Have what is sent belong to the current span, as this function tells its ``traceparent``."""
    global _span_of
    _span_of = current


def current_trace() -> str | None:
    """Return the W3C ``traceparent`` of what is going on here; None: it belongs to no trace."""
    if _span_of is not None and (found := _span_of()) is not None:
        return found
    message = _current.get()
    return _trace.get() if message is None else message.traceparent


@contextmanager
def tracing(traceparent: str) -> Iterator[None]:
    """Have what is sent within the block, outside of handlers, belong to this trace."""
    token = _trace.set(traceparent)
    try:
        yield
    finally:
        _trace.reset(token)


@contextmanager
def handling(envelope: Envelope) -> Iterator[None]:
    """Make this the current message within the block, also for what an event loop runs of it."""
    token = _current.set(envelope)
    try:
        yield
    finally:
        _current.reset(token)
