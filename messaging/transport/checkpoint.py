"""Carrying SQLite's log into the database file, off the path of messages.

SQLite does it by itself inside the commit that makes the log long enough, and that one message
waits for 1,000 pages and two fsyncs, 4 ms. So a thread of its own does most of it before, on a
connection of its own, while others go on writing. The commit that makes the log long finds a few
pages left, carries them over, and the log begins anew.
"""

import contextlib
import sqlite3
import urllib.parse
from typing import Final

from messaging.transport.store import Store

#: Transactions of this process after which it is done: about 500 pages.
EVERY_COMMITS: Final = 100


def checkpoint(store: Store) -> None:
    """Carry the log over as it is now; who writes meanwhile waits for nothing.

    Raises:
        BrokerError: the file is gone or damaged.
    """
    with store.reading:  # no fork meanwhile
        try:
            # rw: a file that was deleted meanwhile must not be made anew.
            path = urllib.parse.quote(store.files.database)
            connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None)
            with contextlib.closing(connection) as db:
                db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as exc:
            raise store.failure(exc) from exc
