"""Requests to an ASGI application in this process, for tests that are not asynchronous."""

import asyncio
from types import TracebackType
from typing import Any, Self

import httpx


class AsgiClient:
    """Everything happens on one event loop, which lives as long as the ``with`` block.

    An application that can be closed is closed at its end.
    """

    def __init__(self, application: Any) -> None:
        self._close = getattr(application, "close", None)
        self._transport = httpx.ASGITransport(application, client=("10.0.0.1", 1))

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        self._client = httpx.AsyncClient(transport=self._transport, base_url="http://localhost")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runner.run(self._client.aclose())
        if self._close is not None:
            self._runner.run(self._close())
        self._runner.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def gets(self, path: str, *, times: int) -> list[httpx.Response]:
        """Ask for the same so many times at once."""

        async def ask() -> list[httpx.Response]:
            return list(await asyncio.gather(*(self._client.get(path) for _ in range(times))))

        return self._runner.run(ask())

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PUT", path, **options)

    def options(self, path: str, **options: Any) -> httpx.Response:
        return self.request("OPTIONS", path, **options)
