"""Heartbeats: what they note, whom they bring back, and what they cost."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway_app import handlers, registry
from gateway_app.models import HealthRecord, Service
from gateway_app.registry.registrations import Heartbeat, InvalidRegistration
from messaging import MessageBus, codec, database_threads
from messaging.database_threads import write_transaction
from messaging.registration import REGISTRATION_WANTED
from tests.gateway_app.registry.test_registry import (
    FAILING,
    NOW,
    after,
    an_instance,
    register,
    states,
)
from tests.unit.test_codec import an_envelope

pytestmark = pytest.mark.django_db


def test_one_heartbeat_brings_it_back() -> None:
    register()
    registry.sweep(after(16))
    assert registry.announce("i1", after(17)) is registry.Heard.KNOWN
    assert states()[-1] == "SUSPECT>UP"
    assert HealthRecord.objects.latest("pk").cause == "heard again after 17 s"


def test_a_heartbeat_is_one_update_that_waits_for_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    register()
    synced: list[bool] = []

    def transaction(*, to_disk: bool = True) -> Any:
        synced.append(to_disk)
        return write_transaction(to_disk=to_disk)

    monkeypatch.setattr(database_threads, "write_transaction", transaction)
    assert statements_of(lambda: registry.announce("i1", after(5), load_json='{"busy": 1}')) == 1
    assert an_instance().load == {"busy": 1}
    registry.announce("i1", after(10), checks_json=FAILING)
    assert statements_of(lambda: registry.announce("i1", after(15), checks_json=FAILING)) == 1
    if connection.vendor == "sqlite":
        assert set(synced) == {False}


def statements_of(act: Callable[[], object]) -> int:
    """Return how many statements it takes, those that begin and end a transaction not counted.

    SQLite's, which cost no round trip: within the test's own transaction these are savepoints.
    """
    with CaptureQueriesContext(connection) as queries:
        act()
    texts = [query["sql"] for query in queries.captured_queries]
    marks = ("SAVEPOINT", "RELEASE") if connection.vendor == "sqlite" else ()
    return len([text for text in texts if not text.startswith(marks)])


def test_a_failing_check_of_its_own_makes_an_instance_suspect_until_it_succeeds() -> None:
    register()
    for seconds, checks_json in ((5, FAILING), (10, FAILING), (15, "")):
        registry.announce("i1", after(seconds), checks_json=checks_json)
    assert states() == ["new>UP", "UP>SUSPECT", "SUSPECT>UP"]
    causes = [record.cause for record in HealthRecord.objects.order_by("pk")]
    assert causes[1:] == ["check database: connection refused", "its own checks succeed"]


def test_a_heartbeat_heals_silence_only() -> None:
    register(healthEndpoint="/health", host="h", port=1)
    for _ in range(3):
        registry.note_findings([registry.Finding("i1", probe_error="HTTP 503")], after(1))
    registry.announce("i1", after(5))
    assert an_instance().state == "DOWN"


def a_heartbeat(**more: Any) -> Heartbeat:
    said = {"name": "user-service", "id": "i1", "version": "1.0", "host": "h", "port": 80}
    return Heartbeat.from_json({**said, "healthEndpoint": "/health", **more})


def test_an_unknown_instance_is_put_on_record_from_its_heartbeat() -> None:
    assert registry.announce("i1", NOW) is registry.Heard.UNKNOWN
    assert registry.take_in(a_heartbeat(load={"busy": 2}), NOW) is registry.Heard.UNREGISTERED
    found = an_instance()
    assert (found.state, found.host, found.port, found.version) == ("UP", "h", 80, "1.0")
    assert (found.health_endpoint, found.load) == ("/health", {"busy": 2})
    assert states() == ["new>UP"]
    assert registry.announce("i1", after(5)) is registry.Heard.UNREGISTERED
    register(at=after(6), host="h", port=80, healthEndpoint="/health")
    assert registry.announce("i1", after(10)) is registry.Heard.KNOWN
    assert states() == ["new>UP"]


def test_one_that_is_taken_in_is_judged_like_any_other() -> None:
    service = Service.objects.create(name="user-service", maintenance_until=after(60))
    registry.take_in(a_heartbeat(), NOW)
    service.maintenance_until = None
    service.save()
    registry.take_in(a_heartbeat(id="i2", checks=json.loads(FAILING)), NOW)
    assert (an_instance().state, an_instance("i2").state) == ("MAINTENANCE", "SUSPECT")


def test_nobody_who_has_said_goodbye_is_taken_in() -> None:
    registry.deregister("user-service", "i1", said_at=NOW, now=NOW)
    assert registry.take_in(a_heartbeat(), after(1)) is registry.Heard.LEFT
    assert an_instance().left_at is not None


@pytest.mark.parametrize(
    "said",
    [
        {"load": 1},
        {"checks": {"a": True}},
        {"checks": {"a": {"ok": "yes"}}},
        {"load": {"busy": 1e999}},
    ],
)
def test_what_is_no_heartbeat_is_refused(said: Any) -> None:
    with pytest.raises(InvalidRegistration):
        Heartbeat.from_json({"name": "a", "id": "1", **said})


def test_the_same_checks_in_another_order_are_the_same() -> None:
    checks = {"a": {"ok": True, "text": ""}, "b": {"ok": False, "text": "\x00" + "x" * 500}}
    texts = {
        Heartbeat.from_json({"name": "a", "id": "1", "checks": each}).checks_json
        for each in (checks, dict(reversed(checks.items())))
    }
    (text,) = texts
    assert json.loads(text)["b"]["text"].startswith("\\x00xx")


def test_a_heartbeat_of_somebody_unknown_is_answered_and_one_of_somebody_known_is_kept(
    own_broker: MessageBus,
) -> None:
    said = {"name": "user-service", "id": "i1", "load": {"busy": 2}, "checks": {"a": {"ok": True}}}
    handlers.announce(said, an_envelope(source="user-service"))
    assert an_instance().state == "UP"
    with own_broker.connection() as broker:
        queue = own_broker.topology.service_queue("user-service")(broker.channel())
        wanted = codec.decode(queue.get(no_ack=True).body)
    assert (wanted.type, wanted.data) == (REGISTRATION_WANTED, {"id": "i1"})
    register()
    handlers.announce(said, an_envelope(source="user-service"))
    assert an_instance().load == {"busy": 2}
    assert an_instance().checks == {"a": {"ok": True, "text": ""}}
