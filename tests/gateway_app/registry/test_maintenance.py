from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError

from gateway_app import registry
from gateway_app.management.commands import bus_maintenance
from gateway_app.models import AuditRecord, HealthRecord, Service, ServiceInstance
from gateway_app.registry.forgetting import NotForgotten, forget_instance, forget_service, track
from gateway_app.registry.maintenance import end_maintenance, set_maintenance
from gateway_app.registry.snapshot import snapshot
from messaging.envelope import utc_now
from tests.gateway_app.registry.test_registry import (
    FAILING,
    NOW,
    after,
    an_instance,
    register,
    revision,
    states,
)
from tests.gateway_app.test_commands import call, typed

pytestmark = pytest.mark.django_db


def audited() -> list[tuple[str, str, str, str]]:
    rows = AuditRecord.objects.order_by("pk")
    return list(rows.values_list("actor", "action", "service", "detail"))


def test_a_service_in_maintenance_serves_nobody_and_neither_does_who_comes() -> None:
    now = utc_now()
    registry.sweep(now)
    register(instance="i1", at=now)
    before = revision()
    set_maintenance(Service.objects.get(), now + timedelta(hours=1), actor="me", now=now)
    register(instance="i2", at=now)
    registry.announce("i1", now)
    assert set(ServiceInstance.objects.values_list("state", flat=True)) == {"MAINTENANCE"}
    assert registry.is_down("user-service")
    assert revision() > before
    assert states() == ["new>UP", "UP>MAINTENANCE", "new>MAINTENANCE"]
    assert "maintenance until" in HealthRecord.objects.latest("pk").cause


def test_it_ends_by_hand_and_both_are_on_record() -> None:
    register()
    set_maintenance(Service.objects.get(), after(60), actor="ann", now=NOW)
    end_maintenance(Service.objects.get(), actor="bob", now=after(1))
    assert (an_instance().state, an_instance().maintenance_until) == ("UP", None)
    assert Service.objects.get().maintenance_until is None
    assert states()[-1] == "MAINTENANCE>UP"
    (began, ended) = audited()
    assert (began[:3], ended) == (
        ("ann", "maintenance", "user-service"),
        ("bob", "maintenance", "user-service", "ended"),
    )


def test_one_instance_may_be_out_while_its_service_serves() -> None:
    register(instance="i1")
    register(instance="i2")
    set_maintenance(an_instance("i1"), after(60), actor="me", now=NOW)
    assert (an_instance("i1").state, an_instance("i2").state) == ("MAINTENANCE", "UP")
    assert audited()[0][3].startswith("instance i1: until ")
    end_maintenance(an_instance("i1"), actor="me", now=after(1))
    assert an_instance("i1").state == "UP"


def test_a_later_end_is_no_new_transition() -> None:
    register()
    for minutes in (1, 2):
        set_maintenance(Service.objects.get(), after(60 * minutes), actor="me", now=NOW)
    assert an_instance().maintenance_until == after(120)
    assert states() == ["new>UP", "UP>MAINTENANCE"]


def test_its_end_is_the_cause_on_record_also_where_a_heartbeat_comes_before_the_sweep() -> None:
    register()
    registry.announce("i1", NOW, checks_json=FAILING)
    set_maintenance(Service.objects.get(), after(10), actor="me", now=NOW)
    registry.announce("i1", after(11), checks_json="")
    assert an_instance().state == "MAINTENANCE"
    registry.sweep(after(12))
    assert HealthRecord.objects.latest("pk").cause == "maintenance ended"


def test_a_service_without_instances_is_shown_in_maintenance() -> None:
    now = utc_now()
    registry.sweep(now)
    register(at=now)
    registry.deregister("user-service", "i1", said_at=now, now=now)
    set_maintenance(Service.objects.get(), now + timedelta(hours=1), actor="me", now=now)
    assert snapshot()[0]["state"] == "MAINTENANCE"


def test_the_command_takes_a_service_out_and_back_in() -> None:
    register(at=utc_now())
    assert "user-service: in maintenance until" in call(
        "bus_maintenance", "user-service", "--for", "30m"
    )
    until = Service.objects.get().maintenance_until
    assert until is not None
    assert timedelta(minutes=29) < until - utc_now() <= timedelta(minutes=30)
    call("bus_maintenance", "user-service", "--end")
    assert an_instance().state == "UP"
    assert [entry[0].startswith("command:") for entry in audited()] == [True, True]


def test_the_command_takes_one_instance_by_the_beginning_of_its_id() -> None:
    register(instance="abc1", at=utc_now())
    register(instance="abd2", at=utc_now())
    call("bus_maintenance", "user-service", "--for", "1h", "--instance", "abc")
    assert (an_instance("abc1").state, an_instance("abd2").state) == ("MAINTENANCE", "UP")


@pytest.mark.parametrize(
    "arguments",
    [
        ["a"],
        ["a", "--for", "30"],
        ["a", "--for", "0m"],
        ["a", "--for", "-5m"],
        ["a", "--for", "999999999d"],
        ["a", "--for", "5m", "--end"],
        ["--for", "5m"],
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        typed(bus_maintenance.Command, *arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["nobody"], ["user-service", "--instance", "x"], ["user-service", "--instance", "i"]],
)
def test_what_is_not_in_the_registry_is_wrong_input_too(arguments: Any) -> None:
    register(instance="i1")
    register(instance="i2")
    with pytest.raises(CommandError) as caught:
        call("bus_maintenance", *arguments, "--end")
    assert caught.value.returncode == 2


def test_a_service_is_forgotten_when_nothing_of_it_is_left_and_nobody_tracks_it() -> None:
    register()
    service = Service.objects.get()
    with pytest.raises(NotForgotten, match="tracked"):
        forget_service(service, actor="me", now=NOW)
    track(service, False, actor="me", now=NOW)
    with pytest.raises(NotForgotten, match="instances"):
        forget_service(service, actor="me", now=NOW)
    registry.deregister("user-service", "i1", said_at=NOW, now=NOW)
    before = revision()
    forget_service(service, actor="me", now=NOW)
    assert not Service.objects.exists()
    assert revision() > before
    assert [entry[1:] for entry in audited()] == [
        ("track", "user-service", "not tracked"),
        ("forget", "user-service", "the service"),
    ]


def test_an_instance_is_forgotten_when_it_is_down() -> None:
    register()
    with pytest.raises(NotForgotten, match="UP"):
        forget_instance(an_instance(), actor="me", now=NOW)
    for seconds in (16, 31):
        registry.sweep(after(seconds))
    forget_instance(an_instance(), actor="me", now=after(32))
    assert registry.announce("i1", after(33)) is registry.Heard.UNKNOWN
    assert states()[-1] == "DOWN>UNKNOWN"
