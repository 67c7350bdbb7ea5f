"""Waiting for an answer only as long as the client does."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")

#: Most answers come within this; only then is looked whether anybody still waits for one.
UNWATCHED_SECONDS: Final = 0.05


async def unless_gone(
    request: Request, work: Coroutine[Any, Any, T], *, is_read: asyncio.Event | None = None
) -> T:
    """Return what the work returns; stop it if the client closes its connection meanwhile.

    Args:
        request: whose body has been read...
        work: what to do.
        is_read: ...or is being read by the work, which sets this when it has all of it.

    Raises:
        ClientDisconnect: the client went away; the work was cancelled.
    """
    doing = asyncio.ensure_future(work)
    tasks: list[asyncio.Future[Any]] = [doing]
    try:
        await asyncio.wait(tasks, timeout=UNWATCHED_SECONDS)
        if not doing.done():
            tasks.append(asyncio.ensure_future(_gone(request, is_read)))
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientDisconnect
        return doing.result()
    finally:
        unfinished = [task for task in tasks if not task.done()]
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.gather(*unfinished, return_exceptions=True)


async def _gone(request: Request, is_read: asyncio.Event | None) -> None:
    if is_read is not None:
        await is_read.wait()
    while (await request.receive())["type"] != "http.disconnect":
        pass
