"""Database work of the HTTP server, past its event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from django.db import DatabaseError, connection

P = ParamSpec("P")
T = TypeVar("T")

#: Each keeps a connection. SQLite has one writer at a time anyway.
THREADS: Final = 4

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="gateway-database")


async def in_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run work on a thread that has a database connection, and return what it returns.

    Raises:
        DatabaseError: the database did not do its part. The next work gets a new connection.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, lambda: _run(work, *args, **kwargs))


def _run(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return work(*args, **kwargs)
    except DatabaseError:
        connection.close()  # it may be the connection that is broken
        raise
