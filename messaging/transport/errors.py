"""What can go wrong in the embedded broker, in AMQP's reply codes and in the words of the bus.

::

    kombu.exceptions.ChannelError     the request was wrong; the connection stays good
    ├─ NoRoute              312       mandatory, and no queue took it; NOT sent
    ├─ NotFound             404       no such queue or exchange
    ├─ ResourceLocked       405       an exclusive queue of another connection
    └─ PreconditionFailed   406       declared before with other arguments; in use; not empty

    messaging.errors.BrokerUnavailable
    ├─ SessionLost                    not renewed for lease_seconds; the leases went to others
    └─ ConsumerCancelled              the queue of a consumer was deleted
"""

import sqlite3
from typing import Final

from kombu.exceptions import ChannelError

from messaging.errors import BrokerBusy, BrokerError, BrokerUnavailable


class NoRoute(ChannelError):
    """A mandatory message that no queue took. It was NOT sent."""

    code = 312


class NotFound(ChannelError):
    """No queue or exchange of that name."""

    code = 404


class ResourceLocked(ChannelError):
    """The queue is exclusive to another connection, which is alive."""

    code = 405


class PreconditionFailed(ChannelError):
    """The queue or exchange exists with other arguments, is in use, or is not empty."""

    code = 406


class SessionLost(BrokerUnavailable):
    """This connection was not renewed for ``lease_seconds``: others have its messages now.

    Connect again. What it held has been or will be delivered again.
    """


class ConsumerCancelled(BrokerUnavailable):
    """The queue of a consumer without ``on_cancel`` was deleted. Connect and declare again."""


#: SQLite's result codes for "another connection has the lock": waiting longer would help.
_BUSY_CODES: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection's lock is all that stood in the way."""
    # The low byte is the primary code, the rest its extension (SQLITE_BUSY_SNAPSHOT, …).
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY_CODES


def broker_error(path: str, error: sqlite3.Error) -> BrokerError:
    """Return SQLite's error as one of the bus, with its text and name, to be raised from it."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    text = f"{path}: {error} ({name})"
    return BrokerBusy(text) if is_busy(error) else BrokerUnavailable(text)
