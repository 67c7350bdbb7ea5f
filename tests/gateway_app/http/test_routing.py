import asyncio
from typing import Any

import pytest
from django.db import DatabaseError
from pytest_django import DjangoAssertNumQueries

from gateway_app import registry
from gateway_app.http.matching import NoSuchPath
from gateway_app.http.routing import NOTHING, STALE_SECONDS, Routing, RoutingCache, read
from gateway_app.models import Service
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
