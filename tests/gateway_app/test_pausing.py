"""What the registry wants of a service that is paused, and what is said of it."""

from typing import Any

import pytest
from django.test import Client

from gateway_app import pausing, registry
from gateway_app.bus import communicator
from gateway_app.health import wedged
from gateway_app.health.load import Load
from gateway_app.models import AuditRecord, QueuePause, ServiceInstance, State
from gateway_app.ops import verdict
from gateway_app.ops.verdict import Facts, Level, ServiceFacts
from gateway_app.registry.snapshot import view
from messaging import MessageBus
from messaging.envelope import utc_now
from tests.gateway_app.conftest import Login
from tests.gateway_app.registry.test_registry import a_registration

pytestmark = pytest.mark.django_db(transaction=True)
NOW = utc_now()
TAKING = '{"consumed": 1, "busy": 0, "capacity": 4, "oldest_seconds": 0}'
PAUSED = '{"consumed": 1, "busy": 0, "capacity": 4, "oldest_seconds": 0, "paused": true}'


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, own_broker: MessageBus) -> list[bool]:
    """What workers of the shop were told, in order; they are not there to hear it."""
    said: list[bool] = []

    def tell(_app: Any, service: str, *, is_paused: bool, reason: str) -> None:
        assert service == "shop"
        said.append(is_paused)

    monkeypatch.setattr("messaging.worker.consumption.tell_workers", tell)
    registry.register(a_registration("shop", "shop-1"), said_at=NOW, now=NOW)
    return said


def pause(**more: Any) -> bool:
    wanted = {"actor": "anna", "reason": "migration", "now": NOW, **more}
    return pausing.pause(communicator, "shop", **wanted)


def says(load_json: str) -> None:
    ServiceInstance.objects.update(load_json=load_json)


def test_twice_the_same_is_once_on_record_and_another_reason_is_told(told: list[bool]) -> None:
    assert pause()
    assert pause()
    assert list(AuditRecord.objects.values_list("action", "detail")) == [("pause", "migration")]
    pause(reason="  something \n else ")
    assert QueuePause.objects.get().reason == "something else"
    assert told == [True] * 3
    pausing.resume(communicator, "shop", actor="anna", now=NOW)
    pausing.resume(communicator, "shop", actor="anna", now=NOW)
    actions = AuditRecord.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["pause", "pause", "resume"]


def test_who_still_takes_messages_is_told_again_and_who_takes_none_is_left_alone(
    told: list[bool],
) -> None:
    pause()
    told.clear()
    says(TAKING)
    pausing.sweep(communicator)
    assert told == [True]
    says(PAUSED)
    pausing.sweep(communicator)
    pausing.heard(communicator, "shop", PAUSED)
    assert told == [True]
    QueuePause.objects.all().delete()
    pausing.heard(communicator, "shop", TAKING)
    assert told == [True]
    pausing.heard(communicator, "shop", PAUSED)
    assert told == [True, False]


def test_a_drain_ends_in_a_pause_when_nothing_waits(told: list[bool]) -> None:
    communicator.send_to_service("shop", "order", {})
    pause(is_drained=True)
    pausing.registered(communicator, "shop")
    pausing.sweep(communicator)
    assert told == [False]
    assert QueuePause.objects.get().is_draining
    with communicator.bus.publisher() as publisher:
        publisher.delete_queue(communicator.bus.topology.queue_name("shop"))
    pausing.sweep(communicator)
    pausing.registered(communicator, "shop")
    assert told == [False, True, True]
    assert not QueuePause.objects.get().is_draining
    (shown,) = view("shop").services
    assert shown.to_json()["paused"]["reason"] == "migration"


def test_a_broker_that_is_away_leaves_it_wanted_and_says_so(
    told: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(type(communicator.bus), "connection", lambda _bus: _Away(), raising=True)
    assert pause() is False
    assert QueuePause.objects.get().reason == "migration"


class _Away:
    connection_errors = channel_errors = ()

    def __enter__(self) -> "_Away":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ensure_connection(self, **_: Any) -> None:
        raise OSError("nobody is there")


def test_a_paused_worker_is_not_wedged() -> None:
    load = Load.of(PAUSED)
    assert load is not None

    def looks(number: int) -> dict[str, str]:
        seen_at = NOW.replace(microsecond=number)
        sign = wedged.Sign("i", "shop", seen_at, load)
        return wedged.look([sign], waiting=lambda _: {"shop": 9}, now=NOW)

    assert [looks(number).get("i", "") for number in range(4)] == [""] * 4


def test_the_verdict_names_it_and_not_that_its_queue_grows() -> None:
    shop = ServiceFacts(
        name="shop", states=[State.UP], grows_by_minute=9, paused_for="migration", paused_since=NOW
    )
    said = verdict.judge(Facts(now=NOW, services=[shop]))
    assert said.level is Level.DEGRADED
    text = "".join(word.text for word in said.sentence)
    assert "shop is paused since" in text
    assert "(migration)" in text
    assert "grows" not in text


def test_the_page_refuses_without_a_reason_or_the_right(told: list[bool], login: Login) -> None:
    def post(client: Client, **form: str) -> int:
        return client.post("/ops/queues/pause/", {"service": "shop", **form}).status_code

    assert post(login("view_bus"), reason="it") == 403
    operator = login("view_bus", "operate_bus")
    assert post(operator) == 400
    assert post(operator, service="api-gateway", reason="it") == 400
    assert not QueuePause.objects.exists()
    assert post(operator, reason="it") == 303
    assert told == [True]
    assert operator.post("/ops/queues/resume/", {"service": "nobody"}).status_code == 400
    assert operator.post("/ops/queues/resume/", {"service": "shop"}).status_code == 303
    assert not QueuePause.objects.exists()
