"""Log lines as JSON objects, each with the message that was being handled.

``event`` is the text before anything is put into it: the same for the same thing whatever the
message, to be counted and alerted by. docs/log_events.md is the catalogue of all of ours.
"""

import logging
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from messaging.context import current_message, current_trace


class BusJsonFormatter(JsonFormatter):
    """Writes ``at``, ``level``, ``logger``, ``event``, ``text``, and what message it is about.

    Never what a message says.
    """

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        """Put the fields of a line together."""
        super().add_fields(log_data, record, message_dict)
        log_data.pop("message", None)
        log_data |= {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "event": str(record.msg),
            "text": record.getMessage(),
            "pid": record.process,
        }
        message, trace = current_message(), current_trace()
        if message is not None:
            log_data |= {
                "message_id": message.id,
                "message_type": message.type,
                "source": message.source,
                "correlation_id": message.correlation_id,
            }
        if trace is not None:
            log_data["trace_id"] = trace.split("-")[1] if trace.count("-") == 3 else trace


def are_used() -> bool:
    """Return whether this process writes its log so."""
    handlers = logging.getLogger().handlers
    return any(isinstance(handler.formatter, BusJsonFormatter) for handler in handlers)
