import pytest
from pytest_django import DjangoAssertNumQueries

from gateway_app.models import HealthRecord, ServiceInstance
from gateway_app.registry import Finding, note_findings
from tests.gateway_app.registry.test_registry import NOW, after, an_instance, register, states

pytestmark = pytest.mark.django_db


def probed(*errors: str | None) -> None:
    for number, error in enumerate(errors):
        note_findings([Finding("i1", probe_error=error)], after(number))


def test_the_third_failure_in_a_row_takes_an_instance_down_and_one_success_brings_it_back() -> (
    None
):
    register()
    probed("HTTP 503", "", "HTTP 503", "HTTP 503")
    assert (an_instance().state, an_instance().probe_failures) == ("UP", 2)
    probed("no connection")
    assert an_instance().state == "DOWN"
    probed(None, "HTTP 503", "")
    assert (an_instance().state, an_instance().probe_failures) == ("UP", 0)
    assert states() == ["new>UP", "UP>DOWN", "DOWN>UP"]
    causes = list(HealthRecord.objects.order_by("pk").values_list("cause", flat=True))
    assert causes[1:] == [
        "health endpoint: no connection, 3 times in a row",
        "health endpoint answers again",
    ]


def test_a_wedged_instance_is_down_until_it_takes_messages_again() -> None:
    register()
    for wedged in ("takes no messages", "takes no messages", None, ""):
        note_findings([Finding("i1", wedged=wedged)], NOW)
    assert states() == ["new>UP", "UP>DOWN", "DOWN>UP"]
    assert HealthRecord.objects.latest("pk").cause == "takes messages again"


def test_a_success_does_not_heal_silence() -> None:
    register()
    ServiceInstance.objects.update(heard="DOWN", state="DOWN", probe_failures=5)
    probed("")
    assert (an_instance().state, an_instance().probe_failures) == ("DOWN", 0)


def test_who_has_left_or_is_not_known_is_passed_over() -> None:
    note_findings([Finding("nobody", probe_error="HTTP 503")], NOW)
    register()
    ServiceInstance.objects.update(left_at=NOW)
    probed("HTTP 503")
    assert an_instance().probe_failures == 0


def test_text_that_the_database_cannot_hold_is_written_out_and_cut() -> None:
    register()
    probed("\x00" + "x" * 500)
    assert an_instance().probe_error == "\\x00" + "x" * 196


def test_nothing_is_written_where_nothing_changes(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(200):
        register(f"s{number % 20}", f"i{number}")
    findings = [Finding(f"i{number}", probe_error="", wedged="") for number in range(200)]
    with django_assert_num_queries(1):
        note_findings(findings, NOW)


def test_a_bad_round_costs_one_write_for_an_instance_and_some_for_a_service_that_changes(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(200):
        register(f"s{number % 20}", f"i{number}")
    findings = [Finding(f"i{number}", probe_error="HTTP 503") for number in range(200)]
    with django_assert_max_num_queries(1 + 200 + 4):
        note_findings(findings, NOW)
    note_findings(findings, NOW)
    with django_assert_max_num_queries(1 + 2 * 200 + 12 * 20):  # with a record each
        note_findings(findings, NOW)
    assert set(ServiceInstance.objects.values_list("state", flat=True)) == {"DOWN"}
