"""When tokens were last used, written behind the requests that use them."""

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from django.db import DatabaseError
from django.db.models import Q

from gateway_app.http.database import in_database
from gateway_app.models import ApiToken
from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import utc_now

logger = logging.getLogger(__name__)

#: A token's row is written once in this time at most, by all processes together.
EVERY_SECONDS: Final = 60.0


class TokenUse:
    """Notes uses of tokens. Not thread-safe: the HTTP server works on one event loop.

    Args:
        monotonic: seconds, for tests to move.
    """

    def __init__(self, monotonic: Callable[[], float] = SYSTEM_CLOCK.monotonic) -> None:
        self._monotonic = monotonic
        #: By primary key, when this process last wrote.
        self._noted: dict[int, float] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def note(self, pk: int) -> None:
        """Have it written that a token was used now. Returns at once."""
        now = self._monotonic()
        if now - self._noted.get(pk, -math.inf) < EVERY_SECONDS:
            return
        self._noted[pk] = now
        task = asyncio.get_running_loop().create_task(self._write(pk))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writing:
            await asyncio.wait(self._writing)

    async def _write(self, pk: int) -> None:
        try:
            await in_database(_put, pk)
        except DatabaseError as exc:
            # Tried again with the next use a minute from now; whether the token works does not
            # depend on it.
            logger.warning("the last use of a token could not be written: %s", exc)


def _put(pk: int) -> None:
    now = utc_now()
    long_ago = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(seconds=EVERY_SECONDS))
    ApiToken.objects.filter(long_ago, pk=pk).update(last_used_at=now)
