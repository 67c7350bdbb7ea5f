"""Connections to instances, each to an address that was checked."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Iterable
from typing import Any, Final

import httpcore

from gateway_app.networks import Networks, NotAllowed
from messaging.clock import SYSTEM_CLOCK

logger = logging.getLogger(__name__)

#: Where no other bound is given.
_LONGEST_SECONDS: Final = 30.0


class AddressRefused(httpcore.ConnectError):
    """No address of an instance's host may be connected to. Its text is one for clients."""

    def __init__(self) -> None:
        super().__init__("its address is not allowed")


class CheckedBackend(httpcore.AnyIOBackend):
    """Makes every connection of a pool: looks a name up once, and connects to what was checked.

    Names that mean one address to who checks and another one to who connects (DNS rebinding) have
    nothing to get between: the connection is made to an address, not to the name.

    Args:
        networks: where connections may go.
    """

    def __init__(self, networks: Networks) -> None:
        self._networks = networks

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a connection to the first allowed address that takes it.

        Each may take half of the time that is left, the last one all of it.

        Raises:
            AddressRefused: none is allowed.
            httpcore.ConnectError: none takes it; the error of the last one.
            httpcore.ConnectTimeout: it took too long.
        """
        ends_at = SYSTEM_CLOCK.monotonic() + (_LONGEST_SECONDS if timeout is None else timeout)
        try:
            async with asyncio.timeout(ends_at - SYSTEM_CLOCK.monotonic()):
                found = await _addresses_of(host, port)
            *others, last = self._networks.allowed_of(found)
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout(f"{host} was not found in time") from exc
        except NotAllowed as exc:
            # What the address is, the log alone says: clients learn nothing of what is inside.
            logger.warning("%s:%d is not connected to: %s", host, port, exc)
            raise AddressRefused from exc
        except (OSError, UnicodeError) as exc:  # the latter of a name that is none
            raise httpcore.ConnectError(str(exc)) from exc
        for address in others:
            try:
                half = (ends_at - SYSTEM_CLOCK.monotonic()) / 2
                return await super().connect_tcp(
                    address, port, half, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                logger.info("%s: the next address is tried: %r", host, exc)
        left = ends_at - SYSTEM_CLOCK.monotonic()
        return await super().connect_tcp(last, port, left, local_address, socket_options)


async def _addresses_of(host: str, port: int) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]
