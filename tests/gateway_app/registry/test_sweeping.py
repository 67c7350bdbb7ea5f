import logging
from datetime import timedelta
from typing import Any

import pytest

from gateway_app import held, registry
from gateway_app.models import HealthRecord, Service, ServiceInstance
from gateway_app.registry import registry_status
from gateway_app.registry.maintenance import set_maintenance
from gateway_app.registry.snapshot import snapshot
from tests.gateway_app.registry.test_registry import NOW, after, an_instance, register, states

pytestmark = pytest.mark.django_db


def all_states() -> set[str]:
    return set(ServiceInstance.objects.values_list("state", flat=True))


def test_an_instance_that_falls_silent_is_suspect_then_down_then_gone_each_on_record() -> None:
    register()
    for seconds in (14, 15, 29, 30, 31, 599, 601):
        registry.sweep(after(seconds))
    assert states() == ["new>UP", "UP>SUSPECT", "SUSPECT>DOWN", "DOWN>UNKNOWN"]
    (service,) = snapshot(now=after(602))
    assert (service["state"], service["instances"]) == ("DOWN", [])
    causes = list(HealthRecord.objects.order_by("pk").values_list("cause", flat=True))
    assert causes[1:] == ["silent for 15 s", "silent for 30 s", "forgotten: silent for 601 s"]


def test_when_most_fall_silent_at_once_the_registry_keeps_them_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in range(6):
        register(f"service-{number}", f"i{number}")
    with caplog.at_level(logging.WARNING):
        for seconds in (14, 20, 31, 40, 700):
            registry.sweep(after(seconds))
    assert all_states() == {"SUSPECT"}
    assert registry_status.load().mass_silence_since == after(20)
    assert [record.message for record in caplog.records] == [
        "6 of 6 instances are silent at once: the registry suspects itself or the broker and "
        "keeps them"
    ]


def test_after_a_mass_silence_nobody_goes_down_before_all_had_time_to_be_heard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in range(6):
        register(f"service-{number}", f"i{number}")
    for seconds in (20, 40):
        registry.sweep(after(seconds))
    registry.announce("i0", after(44))
    registry.announce("i1", after(44))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        registry.sweep(after(45))
    assert (all_states(), len(caplog.records)) == ({"UP", "SUSPECT"}, 1)
    assert registry_status.load().mass_silence_since is None
    registry.sweep(after(50))
    assert all_states() == {"UP", "DOWN"}


def test_instances_that_die_one_after_the_other_are_no_mass_silence() -> None:
    for number in range(5):
        register(f"service-{number}", f"i{number}")
    ServiceInstance.objects.exclude(instance_id="i4").update(state="DOWN", heard="DOWN")
    for seconds in (20, 31):
        registry.sweep(after(seconds))
    assert all_states() == {"DOWN"}


def test_a_clock_that_jumps_forward_kills_nobody_who_is_heard_of_before_the_next_sweep() -> None:
    register("a", "i1")
    register("b", "i2")
    hour = 3600.0
    registry.sweep(after(hour))
    assert all_states() == {"SUSPECT"}
    registry.announce("i1", after(hour + 4))
    registry.sweep(after(hour + 5))
    assert (an_instance("i1").state, an_instance("i2").state) == ("UP", "DOWN")
    assert ServiceInstance.objects.count() == 2  # nobody takes two steps at once


def test_a_clock_that_jumps_back_does_not_make_a_dead_instance_look_alive() -> None:
    register("a", "dead", at=after(3600))
    for seconds in (0, 16, 31):
        registry.sweep(after(seconds))
    assert an_instance("dead").state == "DOWN"
    assert an_instance("dead").last_seen_at == NOW


def test_maintenance_ends_by_itself_with_what_the_rest_says() -> None:
    for instance in ("quick", "slow"):
        register("a", instance)
    service = Service.objects.get()
    set_maintenance(service, after(60), actor="me", now=NOW)
    for seconds in (20, 40, 59):
        registry.announce("quick", after(seconds))
        registry.sweep(after(seconds))
    assert all_states() == {"MAINTENANCE"}
    registry.sweep(after(61))
    assert (an_instance("quick").state, an_instance("slow").state) == ("UP", "DOWN")
    service.refresh_from_db()
    assert service.maintenance_until is None
    assert an_instance("quick").maintenance_until is None
    assert states()[-2:] == ["MAINTENANCE>UP", "MAINTENANCE>DOWN"]


def test_who_is_in_maintenance_is_not_forgotten() -> None:
    register()
    set_maintenance(Service.objects.get(), after(1000), actor="me", now=NOW)
    for seconds in (20, 40, 601, 700):
        registry.sweep(after(seconds))
    assert all_states() == {"MAINTENANCE"}


def test_who_has_left_is_remembered_for_a_while() -> None:
    register()
    registry.deregister("user-service", "i1", said_at=after(1), now=after(1))
    registry.sweep(after(600))
    assert ServiceInstance.objects.exists()
    registry.sweep(after(602))
    assert not ServiceInstance.objects.exists()


def test_a_sweep_lets_out_what_is_held_for_those_who_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register("up", "i1")
    registry.deregister("down", "i2", said_at=NOW, now=NOW)
    let_out: list[Any] = []
    monkeypatch.setattr(held, "waiting_services", lambda: ["down", "up"])
    monkeypatch.setattr(held, "let_out", lambda *arguments: let_out.append(arguments))
    registry.sweep(after(5))
    assert let_out == [("up", NOW, after(5))]


def test_a_sweep_says_when_it_looked() -> None:
    registry.sweep(after(5))
    registry.sweep(after(5) - timedelta(hours=1))
    assert registry_status.load().swept_at == after(5) - timedelta(hours=1)
