"""Database work of the HTTP server, past its event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from django.db import DatabaseError, Error, connection, reset_queries

P = ParamSpec("P")
T = TypeVar("T")

#: Each keeps a connection. SQLite has one writer at a time anyway.
THREADS: Final = 4

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="gateway-database")
#: The picture that all requests need does not wait behind what single requests do.
_routing_thread = ThreadPoolExecutor(1, thread_name_prefix="gateway-routing")


async def in_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run work on a thread that has a database connection, and return what it returns.

    Raises:
        DatabaseError: the database did not do its part. The next work gets a new connection.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, lambda: _run(work, *args, **kwargs))


async def in_routing_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the same as `in_database` on a thread of its own, one work after the other.

    Raises:
        DatabaseError: the database did not do its part. The next work gets a new connection.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_routing_thread, lambda: _run(work, *args, **kwargs))


def _run(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    # With DEBUG a connection keeps its queries; Django forgets them with its own requests only.
    reset_queries()
    try:
        return work(*args, **kwargs)
    except Error as exc:
        connection.close()  # it may be the connection that is broken
        if isinstance(exc, DatabaseError):
            raise
        # An interface error, of a connection that broke before it was asked.
        raise DatabaseError(str(exc)) from exc
