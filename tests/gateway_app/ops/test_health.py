"""The Health page: what its regions read, and what may be done on it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from gateway_app import registry
from gateway_app.models import (
    AuditRecord,
    HealthRecord,
    HealthSummary,
    RegistryStatus,
    Resolution,
    Service,
    ServiceInstance,
)
from gateway_app.ops import health, transitions
from gateway_app.ops.question import Question
from gateway_app.ops.rights import Right
from gateway_app.registry.maintenance import end_maintenance, set_maintenance
from gateway_app.registry.registrations import Registration
from messaging.apps import configured
from messaging.envelope import utc_now

pytestmark = pytest.mark.django_db
RIGHTS = frozenset({Right.VIEW, Right.OPERATE})


def asked(now: datetime | None = None, *, is_frozen: bool = False, **parameters: str) -> Question:
    return Question(now or utc_now(), RIGHTS, parameters, is_frozen)


def register(name: str, instance: str, at: datetime) -> None:
    registration = Registration.from_json({"name": name, "id": instance, "version": "1.0"})
    registry.register(registration, said_at=at, now=at)


def lines(**parameters: Any) -> list[health.Line]:
    return [
        line
        for group in health.instances(asked(**parameters))["groups"]
        for line in group["lines"]
    ]


def test_an_instance_that_falls_silent_is_counted_and_has_its_transitions() -> None:
    config, now = configured(), utc_now()
    began = now - timedelta(seconds=config.down_seconds + 1)
    register("a", "i1", began)
    register("b", "i2", began)
    registry.announce("i2", now)
    registry.sweep(now - timedelta(seconds=1))
    registry.sweep(now)
    found = health.counts(asked(now))
    assert [(state, count) for state, count, _ in found["counts"]] == [
        ("UP", 1),
        ("SUSPECT", 0),
        ("DOWN", 1),
        ("MAINTENANCE", 0),
    ]
    assert found["counts"][2][2] == now
    down, up = lines()
    assert (down.state, [pin.change.state for pin in down.strip.pins]) == (
        "DOWN",
        ["UP", "SUSPECT", "DOWN"],
    )
    assert down.is_late
    assert up.state == "UP"
    assert len(health.cards(asked())["cards"]) == HealthRecord.objects.count()


def test_who_is_gone_keeps_its_strip_and_only_so_many_are_shown_at_once() -> None:
    now = utc_now()
    for number in range(health.GONE_SHOWN + 2):
        at = now - timedelta(minutes=30 - number)
        register("a", f"old{number}", at)
        registry.deregister("a", f"old{number}", said_at=at, now=at + timedelta(seconds=9))
    ServiceInstance.objects.all().delete()
    register("a", "new", now)
    (group,) = health.instances(asked())["groups"]
    assert [line.key for line in group["lines"]][:2] == ["new", f"old{health.GONE_SHOWN + 1}"]
    assert group["more"] == 2
    assert len(lines(gone="all")) == health.GONE_SHOWN + 3
    assert all(line.state == "" for line in lines(gone="all")[1:])


def test_one_service_can_be_chosen() -> None:
    register("a", "i1", utc_now())
    register("b", "i2", utc_now())
    assert [line.place.service for line in lines(service="b")] == ["b"]
    assert {card["change"].service for card in health.cards(asked(service="b"))["cards"]} == {"b"}


def test_a_card_says_who_wanted_maintenance_and_why() -> None:
    now = utc_now()
    register("a", "i1", now - timedelta(minutes=5))
    service = Service.objects.get()
    until = now + timedelta(hours=1)
    set_maintenance(service, until, actor="anna", now=now, reason="kernel update")
    first = health.cards(asked())["cards"][0]
    assert first["by_hand"].startswith("anna: until ")
    assert first["by_hand"].endswith(": kernel update")
    end_maintenance(service, actor="bob", now=now + timedelta(seconds=1))
    first = health.changed(asked(now + timedelta(seconds=2)))["entries"][0]
    assert (first.first.state, first.by_hand) == ("UP", "bob: ended")


def test_a_page_of_an_earlier_instant_shows_what_was_then() -> None:
    now = utc_now()
    register("a", "i1", now - timedelta(hours=3))
    at = now - timedelta(hours=1)
    HealthRecord.objects.create(
        service=Service.objects.get(),
        instance_id="i1",
        previous_state="UP",
        state="DOWN",
        cause="silent for 30 s",
        at=at,
    )
    ServiceInstance.objects.update(state="DOWN")
    before = asked(at - timedelta(minutes=1), is_frozen=True)
    assert health.counts(before)["counts"][0][1] == 1
    after = asked(at + timedelta(minutes=1), is_frozen=True)
    assert health.counts(after)["counts"][2][1] == 1
    long_before = asked(at - timedelta(days=3), is_frozen=True)
    assert health.counts(long_before)["all"] == 0


def test_more_records_than_can_be_shown_are_cut_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = utc_now()
    register("a", "i1", now - timedelta(hours=1))
    service = Service.objects.get()
    for minute in range(10):
        HealthRecord.objects.create(
            service=service,
            instance_id="i1",
            previous_state="UP",
            state="SUSPECT",
            at=now - timedelta(minutes=minute),
        )
    monkeypatch.setattr(transitions, "MOST", 4)
    assert transitions.history(asked(now)).is_cut
    (line,) = lines()
    assert len(line.strip.pins) == 4
    assert line.strip.segments[0].x > 90


def test_the_guard_is_shown_while_it_holds() -> None:
    register("a", "i1", utc_now())
    registry.sweep(utc_now())
    assert health.guard(asked())["held_since"] is None
    at = utc_now()
    RegistryStatus.objects.update(mass_silence_since=at)
    assert health.guard(asked())["held_since"] == at
    assert health.counts(asked())["held_since"] == at
    assert 'data-testid="guard-banner"' in _client().get("/ops/health/").content.decode()


def test_probes_are_averages_by_minute() -> None:
    now = utc_now()
    service = Service.objects.create(name="a")
    minute = now.replace(second=0, microsecond=0)
    for ago, checks, failures, seconds in ((2, 3, 1, 0.4), (1, 1, 1, 0.0)):
        HealthSummary.objects.create(
            service=service,
            resolution=Resolution.MINUTE,
            at=minute - timedelta(minutes=ago),
            checks=checks,
            failures=failures,
            seconds_sum=seconds,
        )
    found = transitions.probes(asked(now, is_frozen=True))["a"]
    assert (found.checks, found.failures, found.last) == (4, 2, 0.2)
    assert sum(each is not None for each in found.seconds) == 1


def test_maintenance_is_refused_without_an_end_or_a_reason() -> None:
    register("a", "i1", utc_now())
    client = _client()
    whole = {"target": "service:a", "length": "1h", "reason": "kernel update"}
    for missing, words in (
        ({"length": ""}, "needs an end"),
        ({"length": "until"}, "needs an end"),
        ({"length": "until", "until": "soon"}, "must be an instant"),
        ({"length": "until", "until": "2001-01-01T00:00"}, "end in the future"),
        ({"reason": "  "}, "needs a reason"),
        ({"target": "service:b"}, "not in the registry"),
        ({"target": ""}, "choose a service"),
    ):
        answer = client.post("/ops/health/maintenance/", whole | missing)
        assert answer.status_code == 400
        assert words in answer.content.decode()
    assert not AuditRecord.objects.exists()
    assert ServiceInstance.objects.get().state == "UP"


def test_maintenance_begins_and_ends_and_is_on_record() -> None:
    register("a", "i1", utc_now())
    client = _client()
    data: dict[str, Any] = {"target": "instance:i1", "length": "15m", "reason": "kernel update"}
    answer = client.post("/ops/health/maintenance/", data | {"back": "?range=24h"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ops/health/?range=24h")
    assert ServiceInstance.objects.get().state == "MAINTENANCE"
    text = client.get("/ops/health/").content.decode()
    assert "is in maintenance until" in text
    assert 'data-testid="maintenance-end"' in text
    answer = client.post("/ops/health/maintenance/end/", {"target": "instance:i1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ops/health/")
    assert ServiceInstance.objects.get().state == "UP"
    assert (
        list(AuditRecord.objects.values_list("actor", "action")) == [("anna", "maintenance")] * 2
    )


def test_a_check_out_of_turn_is_asked_for_unless_there_was_one_just_now() -> None:
    registry.sweep(utc_now())
    client = _client()
    assert client.post("/ops/health/check/").status_code == 303
    assert AuditRecord.objects.get().action == "check"
    RegistryStatus.objects.update(round_at=utc_now())
    client.post("/ops/health/check/")
    assert AuditRecord.objects.count() == 1
    assert "ended a moment ago" in client.get("/ops/health/").content.decode()


def test_who_may_only_look_may_do_none_of_it() -> None:
    client = _client("view_bus")
    for path in ("maintenance/", "maintenance/end/", "check/"):
        assert client.post(f"/ops/health/{path}").status_code == 403
    register("a", "i1", utc_now())
    assert 'method="post"' not in client.get("/ops/health/").content.decode()


def _client(*permissions: str) -> Client:
    user = User.objects.create_user("anna", is_staff=True)
    wanted = permissions or ("view_bus", "operate_bus")
    user.user_permissions.set(Permission.objects.filter(codename__in=wanted))
    client = Client()
    client.force_login(user)
    return client
