"""The stream: shared by who looks at the same, only what changed, and no work for nobody."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.db import DatabaseError

from gateway_app.doctor import Finding, Grade
from gateway_app.ops import stream
from gateway_app.ops.page import Page, Region
from gateway_app.ops.question import Question
from gateway_app.ops.rights import Right
from messaging.envelope import utc_now

pytestmark = pytest.mark.django_db(transaction=True)


class Reads:
    """A region that can be watched."""

    def __init__(self) -> None:
        self.count = 0
        self.text = "first"
        self.fails: Exception | None = None

    def __call__(self, asked: Question) -> dict[str, Any]:
        self.count += 1
        if self.fails is not None:
            raise self.fails
        found = [Finding(self.text, Grade.FINE, "")]
        return {"findings": found, "fine": 1, "checked_at": asked.now.replace(microsecond=0)}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    monkeypatch.setattr(stream, "EVERY_SECONDS", 0.02)
    return Reads()


def key(reads: Reads, rights: frozenset[Right] = frozenset({Right.VIEW})) -> stream.Key:
    # `at` keeps the clock out of what is shown.
    page = Page("doctor", "Doctor", "doctor/", "x", (Region("checks", reads),))
    return stream.Key(page, (("at", "2026-01-01T00:00:00+00:00"),), (), rights)


async def until(events: AsyncIterator[str], wanted: str) -> str:
    async for event in events:
        if wanted in event:
            return event
    raise AssertionError("the stream has ended")


def test_a_viewer_gets_everything_once_and_then_what_changes(reads: Reads) -> None:
    async def look() -> list[str]:
        events = stream.events(key(reads), "token")
        first = await until(events, "hx-partial")
        quiet = 0
        while quiet < 5:  # what the frame counts may come a moment later
            quiet = quiet + 1 if (await anext(events)).startswith("event: tick\n") else 0
        reads.text = "second"
        second = await until(events, "hx-partial")
        await events.aclose()
        return [first, second]

    first, second = asyncio.run(look())
    assert "region-nav" in first
    assert "region-checks" in first
    assert "second" in second
    assert "region-nav" not in second


def test_viewers_share_what_is_read_and_nobody_costs_nothing(reads: Reads) -> None:
    async def look() -> tuple[int, int]:
        wanted = key(reads)
        viewers = [stream.events(wanted, f"token{number}") for number in range(5)]
        for events in viewers:
            await until(events, "hx-partial")
        shared = reads.count
        for events in viewers:
            await events.aclose()
        assert wanted not in stream._feeds
        left_at = reads.count
        await asyncio.sleep(0.1)
        return shared, reads.count - left_at

    shared, after = asyncio.run(look())
    assert shared <= 5 + 2  # not one for each viewer at each look
    assert after <= 1  # the one that was under way


def test_a_region_that_fails_leaves_what_is_shown_and_comes_back(reads: Reads) -> None:
    async def look() -> tuple[str, str]:
        events = stream.events(key(reads), "token")
        await until(events, "hx-partial")
        reads.fails = DatabaseError("gone")
        failed = await until(events, "event: failed")
        reads.fails, reads.text = None, "again"
        back = await until(events, "hx-partial")
        await events.aclose()
        return failed, back

    failed, back = asyncio.run(look())
    assert failed == "event: failed\ndata: checks\n\n"
    assert "again" in back


def test_what_messages_say_cannot_take_the_place_of_a_token(reads: Reads) -> None:
    reads.text = "<csrf> <script>alert(1)</script>"

    async def look() -> str:
        events = stream.events(key(reads), "secret-token")
        event = await until(events, "hx-partial")
        await events.aclose()
        return event

    event = asyncio.run(look())
    assert "secret-token" not in event
    assert "&lt;script&gt;" in event


def test_a_look_that_fails_otherwise_ends_the_stream_and_the_next_one_begins_anew(
    reads: Reads,
) -> None:
    async def look() -> str:
        events = stream.events(key(reads), "token")
        await until(events, "hx-partial")
        reads.fails = RuntimeError("a mistake of ours")
        logging.disable(logging.ERROR)
        try:
            rest = [event async for event in events]
        finally:
            logging.disable(logging.NOTSET)
        assert not any("hx-partial" in event for event in rest)
        reads.fails = None
        again = stream.events(key(reads), "token")
        event = await until(again, "hx-partial")
        await again.aclose()
        return event

    assert "region-checks" in asyncio.run(look())


def test_ticks_tell_the_time(reads: Reads) -> None:
    async def look() -> str:
        events = stream.events(key(reads), "token")
        event = await until(events, "event: tick")
        await events.aclose()
        return event

    began = utc_now()
    event = asyncio.run(look())
    assert event.split("data: ")[1].strip() >= f"{began:%H:%M:%S}" or utc_now().day != began.day
