import asyncio
import logging
import threading
from typing import Any

import pytest
from django.db import DatabaseError, connection
from pytest_django import DjangoAssertNumQueries

from gateway_app import registry
from gateway_app.http import routing
from gateway_app.http.database import THREADS, in_database, in_routing_thread
from gateway_app.http.matching import NoSuchPath
from gateway_app.http.routing import (
    NOTHING,
    STALE_SECONDS,
    WAIT_SECONDS,
    Routing,
    RoutingCache,
    read,
)
from gateway_app.models import RegistryStatus, Service
from tests.gateway_app.registry.test_registry import NOW, a_registration, after

pytestmark = pytest.mark.django_db(transaction=True)


def offer(name: str, instance: str, *paths: str) -> None:
    routes = [{"path": path, "methods": ["GET"], "message": "m"} for path in paths]
    registered = a_registration(name, instance, routes=routes, host="h", port=80)
    registry.register(registered, said_at=NOW, now=NOW)


def test_a_look_where_nothing_changed_is_one_query_and_the_same_picture(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(20):
        offer(f"s{number}", f"i{number}", f"/api/s{number}")
    known = read()
    registry.announce("i1", after(5))
    with django_assert_num_queries(1):
        assert read(known) is known


def test_only_what_changed_is_read_again() -> None:
    offer("a", "a1", "/api/a")
    offer("b", "b1", "/api/b")
    first = read()
    offer("b", "b2", "/api/b", "/api/b/more")
    second = read(first)
    keys = {entry.name: pk for pk, entry in second.services.items()}
    assert second.services[keys["a"]] is first.services[keys["a"]]
    assert [i.instance_id for i in second.by_name["b"].instances] == ["b1", "b2"]
    assert second.tree.match("GET", ["api", "b", "more"]).target.service == "b"


def test_an_instance_that_goes_leaves_the_routes_as_they_are() -> None:
    offer("a", "a1", "/api/a")
    first = read()
    registry.deregister("a", "a1", said_at=after(1), now=after(1))
    second = read(first)
    assert not second.by_name["a"].serves
    assert second.tree is first.tree


def test_a_service_that_was_removed_is_gone() -> None:
    offer("a", "a1", "/api/a")
    offer("b", "b1", "/api/b")
    first = read()
    Service.objects.get(name="a").delete()
    offer("b", "b2", "/api/b")
    with pytest.raises(NoSuchPath):
        read(first).tree.match("GET", ["api", "a"])


class Time:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_last_picture_is_used_while_the_database_is_away() -> None:
    answers: list[Any] = [
        DatabaseError("away"),
        NOTHING,
        DatabaseError("away"),
        DatabaseError("x"),
    ]
    time = Time()

    def from_database(_known: Routing) -> Routing:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Routing.of(1, {})

    async def scenario() -> None:
        cache = RoutingCache(from_database, time)
        with pytest.raises(DatabaseError):
            await cache.current()
        first = await cache.current()
        time.seconds += 2 * STALE_SECONDS
        assert await cache.current() is first  # waited for, in vain
        time.seconds += 2 * STALE_SECONDS
        assert await cache.current() is first  # not waited for again
        await cache.close()

    asyncio.run(scenario())
    assert not answers


def test_a_schema_that_is_the_same_is_not_prepared_again() -> None:
    offered: dict[str, Any] = {"handles": ["a", "b"], "schemas": {"a": {"type": "object"}}}
    registry.register(a_registration("s", "s1", **offered), said_at=NOW, now=NOW)
    first = read()
    offered["schemas"] = {"a": {"type": "object"}, "b": {"type": "object", "title": "new"}}
    registry.register(a_registration("s", "s2", **offered), said_at=NOW, now=NOW)
    second = read(first)
    assert second.by_name["s"].schemas["a"] is first.by_name["s"].schemas["a"]
    assert second.by_name["s"].schemas["b"].document["title"] == "new"


def test_a_slow_database_holds_no_request_up(caplog: pytest.LogCaptureFixture) -> None:
    may_answer = threading.Event()
    may_answer.set()
    time = Time()

    def from_database(known: Routing) -> Routing:
        assert may_answer.wait(60)
        return Routing.of(known.revision + 1, {})

    async def scenario() -> None:
        cache = RoutingCache(from_database, time)
        first = await cache.current()
        may_answer.clear()
        for _ in range(3):
            time.seconds += 2 * STALE_SECONDS
            async with asyncio.timeout(WAIT_SECONDS + 5):
                assert await cache.current() is first
        may_answer.set()  # it was slow: not to be waited for yet
        await cache.close()
        time.seconds += 2 * STALE_SECONDS
        second = await cache.current()
        assert second.revision == first.revision + 1
        await cache.close()
        time.seconds += 2 * STALE_SECONDS
        assert (await cache.current()).revision == first.revision + 3  # waited for again

    with caplog.at_level(logging.WARNING, "gateway_app.http.routing"):
        asyncio.run(scenario())
    assert len(caplog.records) == 1


def test_the_first_picture_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "FIRST_SECONDS", 0.05)
    may_answer = threading.Event()

    def from_database(known: Routing) -> Routing:
        assert may_answer.wait(60)
        return known

    async def scenario() -> None:
        cache = RoutingCache(from_database)
        with pytest.raises(DatabaseError, match="no answer"):
            await cache.current()
        may_answer.set()
        await cache.close()
        assert await cache.current() is NOTHING

    asyncio.run(scenario())


def test_routing_is_read_while_durable_sends_wait_for_the_database() -> None:
    may_answer = threading.Event()

    async def scenario() -> None:
        sends = [asyncio.create_task(in_database(may_answer.wait, 60)) for _ in range(THREADS)]
        try:
            async with asyncio.timeout(10):
                await RoutingCache(lambda _: NOTHING).current()
        finally:
            may_answer.set()
            await asyncio.gather(*sends)

    asyncio.run(scenario())


@pytest.mark.parametrize("place", [in_database, in_routing_thread])
def test_queries_do_not_pile_up_in_debug_mode(place: Any, settings: Any) -> None:
    settings.DEBUG = True

    def work() -> int:
        RegistryStatus.objects.first()
        return len(connection.queries_log)

    async def scenario() -> set[int]:
        return {await place(work) for _ in range(3 * THREADS)}

    assert asyncio.run(scenario()) == {1}
