"""Keeping pages current: what changed is sent, once a second, to all who look at the same.

There is one feed for each page, address and set of rights, and it works only while somebody looks:
reading and rendering are shared by its viewers, whose number costs next to nothing.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Final, NamedTuple

from gateway_app.http.database import in_database
from gateway_app.ops.page import Page
from gateway_app.ops.pages import Shown, for_viewer, shown
from gateway_app.ops.question import question
from gateway_app.ops.rights import Rights
from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import utc_now

logger = logging.getLogger(__name__)

#: Between two looks.
EVERY_SECONDS: Final = 1.0
#: A look that took long makes the next one wait, so that a feed takes this share of a core ...
SHARE: Final = 0.05
#: ... but no longer than this: what happens is on the screen by then.
MOST_SECONDS: Final = 2.0


class Key(NamedTuple):
    """What viewers of one feed have in common."""

    page: Page
    #: Of the address, sorted.
    parameters: tuple[tuple[str, str], ...]
    arguments: tuple[tuple[str, str], ...]
    rights: Rights


class Look(NamedTuple):
    """What a feed knows after one look."""

    number: int
    #: With the number of the look that changed it last.
    regions: dict[str, tuple[Shown, int]]


class Feed:
    """Looks at one page again and again while it has viewers. Used on one event loop."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._changed = asyncio.Condition()
        self._look: Look = Look(0, {})
        self._task: asyncio.Task[None] | None = None
        self._has_failed = False
        self.viewers = 0

    async def follow(self) -> AsyncGenerator[tuple[int, list[Shown]]]:
        """Yield the number of each look, and the regions that have changed since the last one.

        Ends when a look has failed for no reason that is known; browsers then come again.
        """
        self.viewers += 1
        try:
            if self._task is None:
                self._task = asyncio.create_task(self._run())
            seen = 0
            while True:
                async with self._changed:
                    while self._look.number <= seen:
                        if self._has_failed:
                            return
                        await self._changed.wait()
                look = self._look
                yield look.number, [part for part, at in look.regions.values() if at > seen]
                seen = look.number
        finally:
            self.viewers -= 1
            if not self.viewers and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _run(self) -> None:
        try:
            while True:
                began = SYSTEM_CLOCK.monotonic()
                await self._look_again()
                took = SYSTEM_CLOCK.monotonic() - began
                every = min(max(EVERY_SECONDS, took / SHARE), MOST_SECONDS)
                await asyncio.sleep(max(every - took, took))
        except Exception:
            logger.exception("the page %s cannot be kept current", self._key.page.name)
            async with self._changed:
                self._has_failed = True
                self._changed.notify_all()

    async def _look_again(self) -> None:
        parts = await in_database(self._read)
        number = self._look.number + 1
        regions = dict(self._look.regions)
        for part in parts:
            known = regions.get(part.region)
            if known is None or known[0] != part:
                regions[part.region] = part, number
        async with self._changed:
            self._look = Look(number, regions)
            self._changed.notify_all()

    def _read(self) -> list[Shown]:
        asked = question(
            dict(self._key.parameters), self._key.rights, utc_now(), dict(self._key.arguments)
        )
        return list(shown(self._key.page, asked))


_feeds: dict[Key, Feed] = {}


async def events(key: Key, csrf_token: str) -> AsyncGenerator[str]:
    """Yield server-sent events for one viewer: what changed, and a tick for every look.

    A region that cannot be read is not sent: the page keeps what it shows and is told since when.
    """
    feed = _feeds.setdefault(key, Feed(key))
    try:
        async with aclosing(feed.follow()) as looks:
            async for number, parts in looks:
                text = partials(part for part in parts if not part.failed)
                if text:
                    yield _event(for_viewer(text, csrf_token), number)
                failed = " ".join(part.region for part in parts if part.failed)
                if failed:
                    yield f"event: failed\ndata: {failed}\n\n"
                yield f"event: tick\ndata: {utc_now():%H:%M:%S}\n\n"
    finally:
        if not feed.viewers:
            _feeds.pop(key, None)


def partials(parts: Iterable[Shown]) -> str:
    """Return regions as htmx takes them: each goes to its place, what is equal stays."""
    return "".join(
        f'<hx-partial hx-target="#region-{part.region}" hx-swap="innerMorph">{part.html}'
        "</hx-partial>"
        for part in parts
    )


def _event(text: str, number: int) -> str:
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"id: {number}\n{lines}\n"
