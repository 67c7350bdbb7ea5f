"""What a service offers, where its instances do not all offer the same."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway_app import deploys, registry
from gateway_app.models import OfferedSet, Route, Service, ServiceInstance
from gateway_app.registry import forgetting
from gateway_app.registry.registrations import Registration
from gateway_app.registry.snapshot import snapshot
from messaging.envelope import utc_now

pytestmark = pytest.mark.django_db
NOW = utc_now()
OLD: dict[str, Any] = {
    "version": "1",
    "routes": [{"path": "/api/x/{id}", "methods": ["GET", "POST"], "message": "x"}],
    "handles": ["a", "b"],
    "schemas": {"a": {"type": "object"}},
    "subscriptions": ["order.*", "user.#"],
}
CANARY: dict[str, Any] = {
    "version": "2",
    "routes": [{"path": "/api/x/{number}", "methods": ["GET"], "message": "x.new", "timeout": 2}],
    "handles": ["a"],
    "schemas": {"a": {"type": "array"}},
    "subscriptions": ["order.*"],
}


def register(instance: str, seconds: float, offered: dict[str, Any], name: str = "shop") -> Any:
    registration = Registration.from_json({"name": name, "id": instance, **offered})
    at = NOW + timedelta(seconds=seconds)
    return registry.register(registration, said_at=at, now=at)


def leave(instance: str, seconds: float) -> None:
    at = NOW + timedelta(seconds=seconds)
    registry.deregister("shop", instance, said_at=at, now=at)


def routes() -> list[tuple[str, str, str]]:
    rows = Route.objects.order_by("method")
    return [(route.method, route.path, route.message) for route in rows]


def test_a_canary_that_offers_less_takes_nothing_away_and_leaves_nothing_behind() -> None:
    for number in range(3):
        register(f"old{number}", number, OLD)
    (before,) = snapshot()
    register("canary", 10, CANARY)
    (during,) = snapshot()
    assert during["version"] == "2"
    assert during["handles"] == ["a", "b"]
    assert during["schemas"] == {"a": {"type": "array"}}
    assert during["subscriptions"] == ["order.*", "user.#"]
    assert routes() == [("GET", "/api/x/{number}", "x.new"), ("POST", "/api/x/{id}", "x")]
    assert registry.subscribers_of("user.new") == ["shop"]
    revision = Service.objects.get().revision

    leave("canary", 20)
    (after,) = snapshot()
    kinds = ("version", "routes", "handles", "schemas", "subscriptions")
    assert {kind: after[kind] for kind in kinds} == {kind: before[kind] for kind in kinds}
    assert Service.objects.get().revision > revision
    assert OfferedSet.objects.count() == 1


def test_another_version_is_on_record_once_and_the_first_is_none() -> None:
    register("old", 1, OLD)
    assert deploys.between(NOW, utc_now(), "", 9) == []
    register("canary", 2, CANARY)
    register("another", 3, CANARY)
    (found,) = deploys.between(NOW, utc_now(), "shop", 9)
    assert (found.service, found.versions) == ("shop", "1 → 2")
    assert deploys.between(NOW, utc_now(), "other", 9) == []


def test_what_only_one_offered_goes_with_it_and_the_last_one_leaves_all() -> None:
    register("canary", 0, CANARY)
    register("old", 1, OLD)
    leave("old", 2)
    assert (snapshot()[0]["handles"], snapshot()[0]["subscriptions"]) == (["a"], ["order.*"])
    leave("canary", 3)
    assert (snapshot()[0]["handles"], snapshot()[0]["subscriptions"]) == (["a"], ["order.*"])


def test_what_is_forgotten_offers_nothing_any_more() -> None:
    register("canary", 0, CANARY)
    register("old", 1, OLD)
    ServiceInstance.objects.filter(instance_id="old").update(state="DOWN", heard="DOWN")
    old = ServiceInstance.objects.get(instance_id="old")
    assert snapshot()[0]["handles"] == ["a", "b"]
    forgetting.forget_instance(old, actor="me", now=NOW)
    assert snapshot()[0]["handles"] == ["a"]


def test_the_newest_decides_whatever_is_handled_last_or_repeated() -> None:
    register("new", 10, CANARY)
    register("old", 5, OLD)
    assert ("GET", "/api/x/{number}", "x.new") in routes()
    register("old", 50, OLD)  # says nothing new
    assert ("GET", "/api/x/{number}", "x.new") in routes()
    assert Service.objects.get().version == "2"
    register("new", 9, OLD)  # said before what is known of it
    assert ("GET", "/api/x/{number}", "x.new") in routes()


def test_a_repeated_registration_writes_no_offers_and_reads_no_route_of_others() -> None:
    register("other", 0, {"routes": [{"path": "/api/y", "methods": ["GET"]}]}, name="other")
    contested = {**OLD, "routes": [*OLD["routes"], {"path": "/api/y", "methods": ["GET"]}]}
    for _ in range(2):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            (refused,) = register("i1", 1, contested).refused
        assert refused.reason == "it is a route of other already"
    offers = ("route", "subscription", "handledtype", "offeredset", "registrystatus")
    tables = [f'"gateway_app_{name}"' for name in offers]
    statements = [query["sql"] for query in queries.captured_queries]
    about = [text for text in statements if any(table in text for table in tables)]
    assert about
    assert not [text for text in about if not text.startswith("SELECT")]
    (of_others,) = {text for text in about if '"shape" IN' in text}
    if connection.vendor == "sqlite":  # plans of a small table say nothing elsewhere
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {of_others}")
            plan = " ".join(str(row) for row in cursor.fetchall())
        assert "gateway_app_route USING INDEX" in plan.replace("COVERING ", "")
    assert not [text for text in about if '"gateway_app_route"' in text and "WHERE" not in text]


def test_a_route_given_up_by_its_owner_goes_to_who_asks_again() -> None:
    route = {"routes": [{"path": "/api/y", "methods": ["GET"]}]}
    register("other", 0, route, name="other")
    assert register("i1", 1, route).refused
    register("other", 2, {}, name="other")
    assert not register("i1", 3, route).refused
    assert Route.objects.get().service.name == "shop"
