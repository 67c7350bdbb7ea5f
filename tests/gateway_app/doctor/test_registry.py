import json
from datetime import timedelta
from typing import Any

import pytest

from gateway_app import registry, traps
from gateway_app.doctor import bus as bus_layer
from gateway_app.doctor import registry as registry_layer
from gateway_app.registry import registry_status
from messaging.envelope import utc_now
from tests.gateway_app.doctor.conftest import OnBroker
from tests.gateway_app.doctor.found import ids
from tests.gateway_app.registry.test_registry import register

pytestmark = pytest.mark.django_db


def heard(name: str, instance: str, **load: Any) -> None:
    """Have an instance registered that says this of its load."""
    now = utc_now()
    register(name, instance, at=now)
    registry.announce(instance, now, load_json=json.dumps({"at": now.isoformat(), **load}))


@pytest.fixture
def kept() -> None:
    """A registry with a worker and a beat."""
    heard("api-gateway", "g1", database="d1")
    registry.sweep(utc_now())


def test_a_registry_that_is_kept_has_no_finding(kept: None) -> None:
    heard("user-service", "i1", database="d1")
    heard("user-service", "i2", database="d1")
    heard("other-service", "i3", database="d2")
    assert ids(registry_layer.look) == set()


def test_a_gateway_without_a_worker_is_found() -> None:
    heard("user-service", "i1")
    registry.sweep(utc_now())
    assert ids(registry_layer.look) == {traps.NO_GATEWAY_WORKER.id}


def test_a_gateway_without_a_beat_is_found() -> None:
    heard("api-gateway", "g1")
    assert ids(registry_layer.look) == {traps.NO_BEAT.id}
    registry.sweep(utc_now())
    registry_status.row().update(swept_at=utc_now() - timedelta(hours=1))
    assert ids(registry_layer.look) == {traps.NO_BEAT.id}


def test_instances_of_one_service_with_databases_of_their_own_are_found(kept: None) -> None:
    heard("user-service", "i1", database="d1")
    heard("user-service", "i2", database="d2")
    assert ids(registry_layer.look) == {traps.SEVERAL_DATABASES.id}


@pytest.mark.parametrize("seconds", [-60, 60])
def test_an_instance_with_another_time_is_found(seconds: float, kept: None) -> None:
    at = utc_now() + timedelta(seconds=seconds)
    heard("user-service", "i1", at=at.isoformat())
    assert ids(registry_layer.look) == {traps.CLOCKS_APART.id}


def test_what_instances_of_other_languages_say_is_no_reason_to_fail(kept: None) -> None:
    heard("user-service", "i1", at="yesterday", database=None)
    heard("user-service", "i2", at=17, longest_timeout="long")
    assert ids(registry_layer.look) == set()


def test_a_subscribed_service_that_nobody_runs_is_found(kept: None) -> None:
    hour_ago = utc_now() - timedelta(hours=1)
    register("listener", "i1", at=hour_ago, subscriptions=["document.#"])
    assert ids(registry_layer.look) == {traps.NOBODY_LISTENS.id}


def test_a_handler_that_may_take_longer_than_redis_waits_is_found(
    kept: None, on_broker: OnBroker
) -> None:
    on_broker("redis://127.0.0.1/0", redis_visibility_timeout_seconds=600)
    heard("user-service", "i1", longest_timeout=30.0)
    assert ids(registry_layer.look) == set()
    heard("slow-service", "i2", longest_timeout=3600.0)
    assert ids(registry_layer.look) == {traps.LONG_HANDLER.id}


def test_a_gateway_worker_that_does_not_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_layer, "ANSWER_SECONDS", 0.1)
    assert ids(bus_layer.look) == {traps.NO_ANSWER.id}
