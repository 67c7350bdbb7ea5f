"""Whole health rounds: who is asked, and what becomes of it. Answers by message are made up."""

import json
import logging
import threading
from collections.abc import Collection, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gateway_app import handlers
from gateway_app.bus import communicator
from gateway_app.health import message_checks, rounds
from gateway_app.health.message_checks import Result
from gateway_app.models import HealthRecord, HealthSummary, Service, ServiceInstance, State
from gateway_app.registry import registry_status
from messaging import MessageBus, ServiceCommunicator
from messaging.custody.arrival import ONLY_COPY
from messaging.envelope import utc_now
from messaging.models import InboxMessage
from messaging.receiver import Receiver
from messaging.registration import HEALTH_ROUND
from tests.bench.servers import free_port
from tests.unit.custody.test_inbox import critical

pytestmark = pytest.mark.django_db
ANSWERED = Result(State.UP, "answered", {"status": "UP"}, seconds=0.01, is_check=True)
SILENT = Result(State.SUSPECT, "no answer within 2 s", is_check=True)


class Server:
    """Answers as it is told, and counts."""

    def __init__(self) -> None:
        self.status = 200
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, Result]:
    """What services answer by message; who is not in it answers well."""
    answers: dict[str, Result] = {}

    def ask_all(
        _communicator: ServiceCommunicator, names: Collection[str], **_: Any
    ) -> dict[str, Result]:
        return {name: answers.get(name, ANSWERED) for name in names}

    monkeypatch.setattr(message_checks, "ask_all", ask_all)
    return answers


def an_instance(name: str, **more: Any) -> ServiceInstance:
    service, _ = Service.objects.get_or_create(name=name)
    values = {"registered_at": utc_now(), "last_seen_at": utc_now(), "host": "127.0.0.1"}
    number = ServiceInstance.objects.count()
    return ServiceInstance.objects.create(
        instance_id=f"{name}-{number}", service=service, **{**values, **more}
    )


def run_round() -> None:
    rounds.run_round(communicator)


def state_of(instance: ServiceInstance) -> str:
    instance.refresh_from_db()
    return instance.state


def test_three_bad_answers_take_an_instance_down_and_one_good_one_brings_it_back(
    server: Server, said: dict[str, Result]
) -> None:
    instance = an_instance("a", port=server.port, health_endpoint="/health")
    seen = []
    for status in (200, 503, 503, 503, 503, 200):
        server.status = status
        run_round()
        seen.append(state_of(instance))
    assert seen == ["UP", "UP", "UP", "DOWN", "DOWN", "UP"]
    assert HealthRecord.objects.get(state=State.DOWN).cause.startswith("health endpoint: HTTP 503")


def test_maintenance_and_farewell_end_all_questions(
    server: Server, said: dict[str, Result]
) -> None:
    where = {"port": server.port, "health_endpoint": "/health"}
    until = utc_now() + timedelta(hours=1)
    an_instance("resting", state=State.MAINTENANCE, maintenance_until=until, **where)
    an_instance("gone", state=State.DOWN, left_at=utc_now(), **where)
    run_round()
    assert server.asked == 0
    causes = {s.name: (s.last_health["state"], s.last_health["cause"]) for s in _services()}
    assert causes == {
        "resting": ("MAINTENANCE", "in maintenance"),
        "gone": ("DOWN", "no instance is running"),
    }


def test_a_busy_service_that_has_no_time_to_answer_is_up(said: dict[str, Result]) -> None:
    load = {"consumed": 9, "busy": 4, "capacity": 4, "oldest_seconds": 60.0}
    an_instance("busy", load_json=json.dumps(load))
    an_instance("idle", load_json=json.dumps({**load, "busy": 1}))
    an_instance("silent", load_json=json.dumps(load), last_seen_at=_ago(20), heard=State.SUSPECT)
    said |= dict.fromkeys(("busy", "idle", "silent"), SILENT)
    for _ in range(3):
        run_round()
    results = {s.name: (s.last_health["state"], s.last_health["cause"]) for s in _services()}
    down = ("DOWN", "no answer within 2 s, at least 3 times in a row")
    assert results == {
        "busy": ("UP", "busy: 4 of 4 handlers running"),
        "idle": down,
        "silent": down,
    }


def test_a_busy_service_whose_short_handlers_need_one_thread_is_up_while_it_takes_messages(
    said: dict[str, Result],
) -> None:
    load = {"consumed": 9, "busy": 1, "capacity": 4, "oldest_seconds": 0.1}
    instances = [an_instance(name) for name in ("short", "checked", "stuck")]
    said |= dict.fromkeys(("short", "checked", "stuck"), SILENT)
    # Health checks are taken themselves, one in a round: that alone shows nothing.
    for number in range(5):
        for instance, step in zip(instances, (100, 1, 0), strict=True):
            consumed = 9 + number * step
            ServiceInstance.objects.filter(pk=instance.pk).update(
                last_seen_at=utc_now(), load_json=json.dumps({**load, "consumed": consumed})
            )
        run_round()
    results = {s.name: (s.last_health["state"], s.last_health["cause"]) for s in _services()}
    down = ("DOWN", "no answer within 2 s, at least 3 times in a row")
    assert results == {
        "short": ("UP", "busy: takes other messages"),
        "checked": down,
        "stuck": down,
    }


def test_a_round_that_fails_late_is_not_run_again_and_counts_a_failure_once(
    server: Server, said: dict[str, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("late")

    instance = an_instance("a", port=server.port, health_endpoint="/health")
    server.status = 503
    monkeypatch.setattr(rounds, "keep", fail)
    handler = communicator.bus.handlers.find(HEALTH_ROUND)
    assert handler is not None
    assert handler.function is handlers.check_health
    begun = critical(type=HEALTH_ROUND, source="api-gateway", custodian=None)
    outcome = Receiver(communicator).receive(begun, ONLY_COPY)
    assert (outcome.is_settled, outcome.error) == (True, "ValueError: late")
    instance.refresh_from_db()
    assert instance.probe_failures == 1
    assert not InboxMessage.objects.exists()


def test_when_nearly_nobody_can_be_reached_the_gateway_blames_itself_once(
    server: Server, said: dict[str, Result], caplog: pytest.LogCaptureFixture
) -> None:
    Service.objects.create(name=communicator.name)
    nobody = {"port": free_port(), "health_endpoint": "/health"}
    cut_off = [an_instance(f"s{number}", **nobody) for number in range(9)]
    answering = an_instance("near", port=server.port, health_endpoint="/health")
    caplog.set_level(logging.WARNING)
    for _ in range(4):
        run_round()
    assert {state_of(instance) for instance in [*cut_off, answering]} == {"UP"}
    assert {instance.probe_failures for instance in cut_off} == {0}
    blamed = HealthRecord.objects.filter(cause__contains=rounds.OWN_FAULT)
    assert [record.service.name for record in blamed] == [communicator.name]
    assert caplog.text.count(rounds.OWN_FAULT) == 1

    cut_off[0].delete()
    cut_off[1].delete()
    ServiceInstance.objects.filter(service__name__in=["s2", "s3"]).update(port=server.port)
    for _ in range(3):
        run_round()
    assert [state_of(instance) for instance in cut_off[2:]] == ["UP"] * 2 + ["DOWN"] * 5


def test_an_instance_where_the_gateway_may_not_connect_is_down_and_says_why(
    server: Server, said: dict[str, Result]
) -> None:
    metadata = {"host": "169.254.169.254", "port": 80, "health_endpoint": "/latest/meta-data/"}
    bad = an_instance("bad", **metadata)
    good = an_instance("good", port=server.port, health_endpoint="/health")
    for _ in range(3):
        run_round()
    assert (state_of(bad), state_of(good)) == ("DOWN", "UP")
    assert bad.probe_error == "address 169.254.169.254 is not allowed: upstream_networks"
    cause = HealthRecord.objects.filter(instance_id=bad.instance_id).latest("pk").cause
    assert "address 169.254.169.254 is not allowed: upstream_networks" in cause


def test_networks_that_shut_nearly_everybody_out_are_the_gateways_own_fault(
    server: Server, said: dict[str, Result]
) -> None:
    Service.objects.create(name=communicator.name)
    shut_out = [
        an_instance(f"s{number}", host="169.254.0.1", port=80, health_endpoint="/health")
        for number in range(9)
    ]
    an_instance("near", port=server.port, health_endpoint="/health")
    for _ in range(3):
        run_round()
    assert {state_of(instance) for instance in shut_out} == {"UP"}
    (blamed,) = HealthRecord.objects.filter(cause__contains=rounds.OWN_FAULT)
    assert "upstream_networks" in blamed.cause


def test_one_that_takes_no_messages_while_some_wait_goes_down_until_it_does(
    own_broker: MessageBus, said: dict[str, Result]
) -> None:
    load = {"consumed": 7, "busy": 0, "capacity": 4, "oldest_seconds": 0.0}
    stuck = an_instance("stuck", load_json=json.dumps(load))
    communicator.send_to_service("stuck", "work", {})
    seen = []
    for consumed in (7, 7, 7, 7, 8):
        ServiceInstance.objects.filter(pk=stuck.pk).update(
            last_seen_at=utc_now(), load_json=json.dumps({**load, "consumed": consumed})
        )
        run_round()
        seen.append(state_of(stuck))
    assert seen == ["UP", "UP", "DOWN", "DOWN", "UP"]
    assert HealthRecord.objects.get(state=State.DOWN, instance_id=stuck.instance_id).cause == (
        "wedged: takes no messages, though some wait and handlers are free"
    )


def test_a_round_counts_its_checks_and_says_that_it_was_there(
    server: Server, said: dict[str, Result]
) -> None:
    an_instance("a", port=server.port, health_endpoint="/health")
    an_instance("b")
    said["b"] = SILENT
    run_round()
    minutes = HealthSummary.objects.filter(resolution="minute").order_by("service__name")
    assert list(minutes.values_list("service__name", "checks", "failures")) == [
        ("a", 2, 0),
        ("b", 1, 1),
    ]
    status = registry_status.load()
    assert status.round_services == 2
    assert status.round_at is not None
    assert 0 < status.round_seconds < 10


def _services() -> list[Service]:
    return list(Service.objects.all())


def _ago(seconds: float) -> Any:
    return utc_now() - timedelta(seconds=seconds)
