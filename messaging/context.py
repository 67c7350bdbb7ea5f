"""Which message is being handled here: carried on to every send, without the handler's help."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from messaging.envelope import Envelope

_current: ContextVar[Envelope | None] = ContextVar("messaging_current", default=None)


def current_message() -> Envelope | None:
    """Return the message this thread or task is handling; None outside of handlers."""
    return _current.get()


@contextmanager
def handling(envelope: Envelope) -> Iterator[None]:
    """Make this the current message within the block, also for what an event loop runs of it."""
    token = _current.set(envelope)
    try:
        yield
    finally:
        _current.reset(token)
