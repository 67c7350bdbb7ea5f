"""Requests that Django refuses: a warning in one line, since the fault is the client's.

Django logs each as an error with a traceback. Anybody who reaches the server could fill the log
with those, and wake whoever is called for errors.
"""

import logging
from typing import Final

#: Loggers of Django's, by what the client did. It has been answered with 400.
LOGGERS: Final = tuple(
    f"django.security.{name}"
    for name in (
        *("DisallowedHost", "RequestDataTooBig", "TooManyFieldsSent", "TooManyFilesSent"),
        *("SuspiciousMultipartForm", "SuspiciousFileOperation"),
    )
)


class ClientFault(logging.Filter):
    """Makes a warning without traceback of an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; it is logged all the same."""
        if record.levelno == logging.ERROR:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.exc_info = None
        return True
