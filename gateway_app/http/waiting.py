"""Working for a client only as long as it is there."""

import asyncio
from types import TracebackType
from typing import Final

from starlette.requests import ClientDisconnect, Request

#: Most answers come within this; only then is looked whether anybody still waits for one.
UNWATCHED_SECONDS: Final = 0.05


class while_present:  # noqa: N801 - read as a statement: ``async with while_present(request):``
    """An asynchronous context manager that stops its block when the client is gone.

    It starts no task of its own for a block that ends within `UNWATCHED_SECONDS`. Once.

    Args:
        request: whose body has been read...
        is_read: ...or is being read in the block, which sets this when it has all of it.

    Raises:
        ClientDisconnect: the client closed its connection; the block was cancelled.
    """

    def __init__(self, request: Request, *, is_read: asyncio.Event | None = None) -> None:
        self._request = request
        self._is_read = is_read
        self._watching: asyncio.Task[None] | None = None
        self._is_over = False
        self._is_gone = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(UNWATCHED_SECONDS, self._watch)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over = True
        self._timer.cancel()
        if self._watching is not None:
            # What comes next may read from the connection itself.
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._is_gone:
            is_ours = self._task.uncancel() <= self._cancelling
            if is_ours and kind is asyncio.CancelledError:
                raise ClientDisconnect from error

    def _watch(self) -> None:
        self._watching = asyncio.ensure_future(self._until_gone())
        self._watching.add_done_callback(self._gone)

    def _gone(self, _: "asyncio.Task[None]") -> None:
        if not self._is_over:
            self._is_gone = True
            self._task.cancel()

    async def _until_gone(self) -> None:
        if self._is_read is not None:
            await self._is_read.wait()
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
