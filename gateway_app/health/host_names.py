"""Host names looked up ahead of the probes that need them, each name once.

A name that no server answers for keeps its thread for many seconds, which nothing can cut short.
So look-ups have threads of their own, and a time of their own: it is not taken from the probe's.
"""

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self

from messaging.clock import SYSTEM_CLOCK

#: Look-ups at one time.
AT_ONCE: Final = 32
#: A name that takes longer has no address.
LOOKUP_SECONDS: Final = 3.0

_Addresses = list[tuple[Any, ...]]


class NoTurn(Exception):
    """A name was not looked up: others took all the time there was."""


class NamesLoop(asyncio.SelectorEventLoop):
    """An event loop on which connections are made to names that `look_up` knows."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gateway-probe-names")
        #: Free threads: a look-up that is given up keeps its own until it ends.
        self._places = asyncio.Semaphore(AT_ONCE)
        self._found: dict[str, asyncio.Task[_Addresses | Exception]] = {}
        self._pending: set[asyncio.Future[Any]] = set()

    async def look_up(self, host: str, ends_at: float) -> None:
        """Look a name up, unless that is done or under way. Failures show when it is used.

        Args:
            host: a name or an address.
            ends_at: by `SYSTEM_CLOCK.monotonic`; it has to begin by then.

        Raises:
            NoTurn: it could not.
        """
        if _is_address(host):
            return
        task = self._found.get(host)
        if task is None:
            task = self._found[host] = self.create_task(self._look_up(host, ends_at))
        await asyncio.shield(task)

    async def getaddrinfo(  # type: ignore[override]
        self, host: str, port: int, **more: Any
    ) -> _Addresses:
        """Return what was found out about a name that was looked up, or an address as it is."""
        if host not in self._found:
            return [*await super().getaddrinfo(host, port, **more)]
        found = self._found[host].result()
        if isinstance(found, Exception):
            raise found
        return [
            (family, kind, proto, name, (address[0], port, *address[2:]))
            for family, kind, proto, name, address in found
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close it, without waiting for look-ups that nobody needs any more."""
        for future in self._pending:
            future.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.close()

    async def _look_up(self, host: str, ends_at: float) -> _Addresses | Exception:
        try:
            async with asyncio.timeout(max(0.0, ends_at - SYSTEM_CLOCK.monotonic())):
                await self._places.acquire()
        except TimeoutError as exc:
            raise NoTurn(host) from exc
        looking = self.run_in_executor(self._threads, _addresses_of, host)
        self._pending.add(looking)
        looking.add_done_callback(self._end)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                return await asyncio.shield(looking)
        except TimeoutError:
            return socket.gaierror(socket.EAI_AGAIN, "no answer in time")

    def _end(self, looking: asyncio.Future[Any]) -> None:
        self._pending.discard(looking)
        self._places.release()


def _addresses_of(host: str) -> _Addresses | Exception:
    try:
        return [*socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except (OSError, ValueError) as exc:
        return exc


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
