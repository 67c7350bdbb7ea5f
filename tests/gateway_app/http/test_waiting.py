import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from gateway_app.http.waiting import UNWATCHED_SECONDS, while_present


class Client:
    """A client whose request has been read: nothing comes from it until it goes away."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.reads = 0
        self.request = Request({"type": "http"}, self._receive)

    async def _receive(self) -> Any:
        self.reads += 1
        try:
            await self.gone.wait()
        finally:
            self.reads -= 1
        return {"type": "http.disconnect"}


def test_the_block_is_stopped_when_the_client_is_gone() -> None:
    async def work() -> bool:
        client = Client()
        client.gone.set()
        with pytest.raises(ClientDisconnect):
            async with while_present(client.request):
                await asyncio.sleep(60)
        # Stopping the block has left nothing behind that would stop what comes next.
        await asyncio.sleep(0)
        task = asyncio.current_task()
        return task is not None and not task.cancelling()

    assert asyncio.run(work())


def test_the_block_is_looked_after_only_once_its_body_is_read() -> None:
    async def work() -> None:
        client, is_read = Client(), asyncio.Event()
        client.gone.set()
        async with while_present(client.request, is_read=is_read):
            await asyncio.sleep(2 * UNWATCHED_SECONDS)
        assert client.reads == 0
        is_read.set()
        with pytest.raises(ClientDisconnect):
            async with while_present(client.request, is_read=is_read):
                await asyncio.sleep(60)

    asyncio.run(work())


def test_the_connection_is_free_to_be_read_again_behind_the_block() -> None:
    async def work() -> int:
        client = Client()
        async with while_present(client.request):
            while not client.reads:
                await asyncio.sleep(UNWATCHED_SECONDS / 5)
        return client.reads

    assert asyncio.run(work()) == 0


def test_errors_and_the_ends_that_others_set_pass_through() -> None:
    async def work() -> None:
        client = Client()
        with pytest.raises(ZeroDivisionError):
            async with while_present(client.request):
                raise ZeroDivisionError
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2 * UNWATCHED_SECONDS), while_present(client.request):
                await asyncio.sleep(60)

        async def stopped() -> None:
            async with while_present(client.request):
                await asyncio.sleep(60)

        task = asyncio.ensure_future(stopped())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
