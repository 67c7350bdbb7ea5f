"""Everything the bus tells programs about: one catalogue of Django signals.

Receivers run in the thread where it happened, before the bus goes on: keep them short. What a
receiver raises is logged and goes no further. Every signal is sent with ``sender`` = the service's
name and the arguments listed here.
"""

import logging
from typing import Any, Final

from django.dispatch import Signal

logger = logging.getLogger("messaging.events")

#: The broker has the message. ``envelope``
message_published = Signal()
#: A handler is done with it. ``envelope``, ``seconds`` (time in the handler)
message_handled = Signal()
#: One attempt failed. ``envelope``, ``error`` (the exception)
message_failed = Signal()
#: It is tried again later. ``envelope`` (of the next attempt), ``delay_seconds``
message_retry_scheduled = Signal()
#: It was given up. ``envelope`` (None where the body was none), ``reason``, ``error`` (text)
message_dead_lettered = Signal()
#: It came too late and was not handled. ``envelope``
message_expired = Signal()
#: It has been tried or published `STUCK_AT` times: somebody should look. ``envelope``, ``tries``
message_stuck = Signal()
#: So often, for `message_stuck`.
STUCK_AT: Final = 10
#: A relay cannot reach the broker. ``error`` (the exception)
broker_lost = Signal()
#: It can again.
broker_recovered = Signal()
#: An instance of the service ``sender`` is in another state; sent in the gateway, once that is on
#: record. ``instance_id``, ``previous_state`` (empty: it is new), ``state``, ``cause`` (text)
service_state_changed = Signal()


def emit(signal: Signal, sender: str, **arguments: Any) -> None:
    """Send a signal; what a receiver raises is logged with its traceback."""
    if not signal.receivers:
        return
    for receiver, answer in signal.send_robust(sender=sender, **arguments):
        if isinstance(answer, Exception):
            logger.error("signal receiver %r failed", receiver, exc_info=answer)
