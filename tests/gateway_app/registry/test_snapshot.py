import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import DjangoAssertNumQueries

from gateway_app import registry
from gateway_app.models import Service
from gateway_app.registry import registry_status
from gateway_app.registry.snapshot import snapshot
from messaging.envelope import utc_now
from tests.gateway_app.registry.test_registry import FAILING, an_instance, register

pytestmark = pytest.mark.django_db


def bus_services(*arguments: str) -> tuple[list[str], str]:
    """Return lines on stdout, and what is on stderr."""
    out, err = StringIO(), StringIO()
    call_command("bus_services", *arguments, stdout=out, stderr=err)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()], err.getvalue()


def ago(seconds: float) -> Any:
    return utc_now() - timedelta(seconds=seconds)


def test_the_entry_of_a_service_has_what_programs_read() -> None:
    now = utc_now()
    registry.sweep(now)
    register(
        at=now,
        host="h",
        port=80,
        healthEndpoint="/health",
        metadata={"zone": "b"},
        handles=["a"],
        schemas={"a": {"type": "object"}},
    )
    registry.announce("i1", now, checks_json=FAILING)
    assert json.loads(json.dumps(snapshot())) == [
        {
            "name": "user-service",
            "state": "SUSPECT",
            "version": "1.0",
            "instances": [
                {
                    "id": "i1",
                    "host": "h",
                    "port": 80,
                    "state": "SUSPECT",
                    "last_seen_at": now.isoformat(),
                    "health_endpoint": "/health",
                    "metadata": {"zone": "b"},
                    "checks": {"database": {"ok": False, "text": "connection refused"}},
                }
            ],
            "routes": [],
            "handles": ["a"],
            "schemas": {"a": {"type": "object"}},
            "subscriptions": [],
        }
    ]


def test_an_end_of_maintenance_is_part_of_it() -> None:
    until = utc_now() + timedelta(hours=1)
    register(at=utc_now())
    Service.objects.update(maintenance_until=until)
    assert snapshot()[0]["maintenance_until"] == until.isoformat()


def test_it_takes_as_many_queries_for_30_services_as_for_3(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(30):
        register(f"s{number}", f"i{number}", handles=["a"], subscriptions=["b"])
    with django_assert_num_queries(6):
        assert len(snapshot()) == 30


def test_the_table_tells_instances_apart_and_says_why_one_is_not_up() -> None:
    registry.sweep(ago(0))
    register(instance="aaaaaaaaaaaa", host="h1", port=8001, at=ago(1200), metadata={"pid": 42})
    register(instance="bbbbbbbbbbbb", host="h1", port=8001, at=ago(180))
    registry.announce("bbbbbbbbbbbb", ago(180), checks_json=FAILING)
    lines, _ = bus_services()
    assert lines == [
        "SERVICE STATE VERSION INSTANCES LAST SEEN CAUSE",
        "user-service UP 1.0 1 of 2 up 3 min ago",
        "h1:8001 pid 42 aaaaaaaa UP 1.0 20 min ago",
        "h1:8001 bbbbbbbb SUSPECT 1.0 3 min ago check database: connection refused",
    ]


def test_when_nobody_looks_every_state_is_unknown_and_the_first_line_says_what_to_start() -> None:
    registry.sweep(ago(200))
    register(at=ago(1))
    lines, _ = bus_services()
    assert lines[0].startswith("Nobody has looked for silent instances since ")
    assert "(3 min ago)" in lines[0]
    assert "celery -A gateway_app worker" in lines[0]
    assert ["UNKNOWN" in line for line in lines[2:]] == [True, True]
    (entry,) = snapshot()
    assert (entry["state"], entry["instances"][0]["state"]) == ("UNKNOWN", "UNKNOWN")
    lines, error = bus_services("--json")
    assert error.startswith("Nobody has looked")
    assert json.loads("".join(lines))[0]["state"] == "UNKNOWN"


@pytest.mark.parametrize(("age", "state"), [(14, "UP"), (16, "UNKNOWN")])
def test_before_the_first_look_it_is_the_first_registration_that_counts(
    age: float, state: str
) -> None:
    register(at=ago(age))
    registry.announce("i1", ago(0))
    assert snapshot()[0]["state"] == state


def test_a_mass_silence_is_told_on_the_first_line() -> None:
    registry.sweep(ago(0))
    registry_status.row().update(mass_silence_since=ago(0))
    register(at=ago(1))
    assert bus_services()[0][0].startswith("Most instances are silent at once since ")
    lines, error = bus_services("--json")
    assert error.startswith("Most instances")
    assert len(json.loads("".join(lines))) == 1


def test_a_service_that_was_stopped_is_down_since_it_left() -> None:
    registry.sweep(ago(0))
    register("away", "i1", at=ago(300))
    registry.deregister("away", "i1", said_at=ago(180), now=ago(180))
    Service.objects.create(name="never")
    lines, _ = bus_services()
    assert lines[1:] == [
        "away DOWN 1.0 0 of 0 up no instance; the last one left 3 min ago",
        "never DOWN 0 of 0 up no instance",
    ]


def test_a_service_nobody_tracks_is_shown_while_it_has_instances() -> None:
    register(at=utc_now())
    Service.objects.update(tracked=False)
    assert len(snapshot()) == 1
    instance = an_instance()
    registry.deregister("user-service", instance.instance_id, said_at=utc_now(), now=utc_now())
    assert snapshot() == []
