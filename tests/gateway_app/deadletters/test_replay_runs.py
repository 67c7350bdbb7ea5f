"""Replay runs: what they replay and leave out, how fast, and how they end."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError

from gateway_app import replay_runs, replays
from gateway_app.models import AuditRecord, DeadLetter, ReplayRun, RunState
from gateway_app.replay_runs import NotStarted, start, stop
from gateway_app.replay_steps import advance, note_outcomes
from messaging.models import InboxMessage, OutboxMessage, OutboxState
from tests.gateway_app.deadletters.letters import end, park
from tests.gateway_app.test_commands import call

pytestmark = pytest.mark.django_db


@pytest.fixture
def group() -> str:
    """The fingerprint of ten parked letters, m0 to m9."""
    for number in range(10):
        park(f"m{number}")
    return DeadLetter.objects.get(message_id="m0").fingerprint


def begin(group: str, **options: Any) -> ReplayRun:
    values: dict[str, Any] = {"actor": "ada", "rate": 2, "key": "k"}
    return start({"fingerprint": group}, **(values | options))


def step(run: ReplayRun, seconds: float = 0.0) -> int:
    """Advance to so many seconds after the start."""
    count = advance(run, run.started_at + timedelta(seconds=seconds))
    run.refresh_from_db()
    return count


def counted(run: ReplayRun) -> tuple[int, ...]:
    return run.handled, run.skipped, run.parked_again, run.sent, run.to_go


def end_all(state: str, error: str = "") -> None:
    """End what was replayed and has no end yet."""
    for row in OutboxMessage.objects.filter(generation__gt=0, state=OutboxState.PENDING):
        end(row, state, error)


def test_a_run_replays_what_its_rate_allows_and_ends_with_none_to_go(group: str) -> None:
    run = begin(group)
    assert (run.total, run.to_go) == (10, 10)
    assert [step(run, at) for at in (0.0, 0.2, 0.5, 0.5, 1.1)] == [1, 0, 1, 0, 1]
    assert counted(run) == (0, 0, 0, 3, 7)
    assert step(run, 60.0) == 3, "it catches up with a second, not with a minute"
    for at in range(61, 65):
        end_all("handled")
        step(run, at)
    assert (counted(run), run.state) == ((10, 0, 0, 0, 0), RunState.ENDED)
    assert OutboxMessage.objects.filter(generation=1).count() == 10
    assert not DeadLetter.objects.filter(state="parked").exists()
    assert step(run, 99.0) == 0


def test_what_was_handled_meanwhile_edited_or_replayed_by_another_is_skipped(group: str) -> None:
    end_handled = DeadLetter.objects.get(message_id="m0")
    OutboxMessage.objects.create(**_sent(end_handled), state=OutboxState.HANDLED)
    DeadLetter.objects.filter(message_id="m1").update(edited_as="another")
    DeadLetter.objects.filter(message_id="m2").update(may_have_been_handled=True)
    assert replay_runs.done_already({"fingerprint": group}) == 2
    run = begin(group, rate=1000)
    replays.replay(DeadLetter.objects.get(message_id="m3"), actor="grace")
    step(run, 1.0)
    assert counted(run) == (0, 4, 0, 6, 0)
    letters = list(DeadLetter.objects.order_by("pk"))
    items = replay_runs.outcomes(run, letters)
    details = [items[letter.pk].detail for letter in letters[:4]]
    expected = ("handled after", "as another", "--force", "else")
    for detail, words in zip(details, expected, strict=True):
        assert words in detail
    assert letters[0].state == "parked"
    assert OutboxMessage.objects.filter(generation=1, message_id="m3").count() == 1


def _sent(letter: DeadLetter) -> dict[str, Any]:
    return {
        "message_id": letter.message_id,
        "target": letter.service,
        "source": "a",
        "type": letter.type,
        "kind": "command",
        "priority": "HIGH",
        "urgency": 2,
        "created_at": letter.parked_at,
        "under_custody": True,
    }


@pytest.mark.parametrize("state", ["parked", "waiting"])
def test_three_that_fail_again_in_a_row_stop_it(group: str, state: str) -> None:
    run = begin(group)
    step(run)
    end_all("handled")
    for at in range(1, 20):
        step(run, at)
        end_all(state, "as broken as before")
    assert run.state == RunState.FAILED
    assert run.why == "3 in a row failed again: as broken as before"
    assert run.handled == 1
    assert run.to_go > 0
    assert DeadLetter.objects.filter(state="parked").count() == run.to_go


def test_failures_that_are_not_in_a_row_do_not_stop_it(group: str) -> None:
    run = begin(group, rate=1)
    for at in range(12):
        step(run, at)
        end_all("parked" if at % 3 else "handled")
    assert (run.state, run.handled, run.parked_again) == (RunState.ENDED, 4, 6)


def test_a_canary_is_three_that_were_not_handled_meanwhile(group: str) -> None:
    done = DeadLetter.objects.get(message_id="m0")
    OutboxMessage.objects.create(**_sent(done), state=OutboxState.HANDLED)
    run = begin(group, canary=True, rate=10)
    step(run, 1.0)
    end_all("handled")
    step(run, 2.0)
    assert (counted(run), run.state) == ((3, 0, 0, 0, 0), RunState.ENDED)
    replayed = DeadLetter.objects.filter(state="replayed").order_by("pk")
    assert list(replayed.values_list("message_id", flat=True)) == ["m1", "m2", "m3"]


def test_a_canary_that_fails_once_or_never_comes_back_has_failed(group: str) -> None:
    run = begin(group, canary=True, rate=10)
    step(run, 1.0)
    end(OutboxMessage.objects.filter(generation=1)[0], "waiting", "no rate")
    step(run, 2.0)
    assert (run.state, run.why) == (RunState.FAILED, "1 failed again: no rate")
    silent = begin(group, canary=True, rate=10, key="k2")
    step(silent, 1.0)
    step(silent, 62.0)
    assert (silent.state, silent.sent) == (RunState.FAILED, 3)
    assert "not handled within 60 s" in silent.why


def test_outcomes_are_noted_after_the_end_as_well(group: str) -> None:
    run = begin(group, rate=1000)
    step(run, 1.0)
    assert stop(run, actor="grace")
    end_all("handled")
    note_outcomes(run, run.started_at + timedelta(seconds=9))
    run.refresh_from_db()
    assert (counted(run), run.state) == ((10, 0, 0, 0, 0), RunState.STOPPED)


def test_a_stop_holds_at_once_and_the_rest_is_a_new_run(group: str) -> None:
    run = begin(group)
    step(run)
    assert stop(run, actor="grace")
    assert not stop(run, actor="grace")
    assert step(run, 5.0) == 0
    assert (run.state, run.why, run.to_go) == (RunState.STOPPED, "stopped by grace", 9)
    assert begin(group, key="k2").total == 9
    words = list(AuditRecord.objects.order_by("pk").values_list("action", "actor"))
    assert words == [("run", "ada"), ("replay", "ada"), ("stop", "grace"), ("run", "ada")]


def test_a_stop_between_two_letters_of_a_step_holds(
    group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(group, rate=1000)
    replay: Callable[..., bool] = replays.replay

    def replay_and_stop(letter: DeadLetter, **options: Any) -> bool:
        done = replay(letter, **options)
        stop(run, actor="grace")
        return done

    monkeypatch.setattr(replays, "replay", replay_and_stop)
    assert step(run, 1.0) == 1
    assert DeadLetter.objects.filter(state="parked").count() == 9


def test_the_same_key_is_the_same_run_and_a_second_run_is_refused(group: str) -> None:
    run = begin(group)
    assert begin(group) == run
    with pytest.raises(NotStarted, match="replayed already"):
        begin(group, key="k2")
    with pytest.raises(NotStarted, match="another run"):
        begin(group, canary=True)
    stop(run, actor="ada")
    assert begin(group) == run, "a form that is posted again starts nothing"
    assert ReplayRun.objects.count() == AuditRecord.objects.filter(action="run").count() == 1
    assert replay_runs.latest(group) == run
    assert replay_runs.latest(group, canary=True) is None


@pytest.mark.parametrize(
    ("wanted", "options"),
    [
        ({}, {}),
        ({"colour": "red"}, {}),
        ({"state": "parked"}, {}),
        ({"service": "billing"}, {"rate": 0}),
        ({"service": "billing"}, {"key": ""}),
    ],
)
def test_wrong_input_starts_nothing(wanted: dict[str, Any], options: dict[str, Any]) -> None:
    park("a")
    values: dict[str, Any] = {"actor": "ada", "rate": 1, "key": "k"}
    with pytest.raises(ValueError, match="expected"):
        start(wanted, **(values | options))
    assert not ReplayRun.objects.exists()


def test_nothing_parked_starts_nothing_and_any_filter_will_do() -> None:
    with pytest.raises(NotStarted, match="nothing that matches"):
        begin("0" * 16)
    letter = park("a")
    since: datetime = letter.parked_at
    wanted = {"service": "billing", "since": since, "type": None}
    run = start(wanted, actor="ada", rate=1, key="k2")
    assert run.wanted == {"service": "billing", "since": since.isoformat()}
    assert run.fingerprint == ""


def test_a_letter_that_no_message_can_be_made_of_is_skipped(group: str) -> None:
    DeadLetter.objects.filter(message_id="m0").update(envelope_json='{"id": 1}')
    run = begin(group, rate=1000)
    step(run, 1.0)
    assert counted(run) == (0, 1, 0, 9, 0)


def test_commands_start_list_and_stop_a_run(group: str) -> None:
    assert "No replay runs" in call("bus_replay_runs")
    arguments = ("--start", "--fingerprint", group, "--canary", "--key", "k", "--json")
    (begun,) = json.loads(call("bus_replay_runs", *arguments))
    assert (begun["total"], begun["to_go"], begun["state"]) == (3, 3, "running")
    assert json.loads(call("bus_replay_runs", *arguments)) == [begun]
    (stopped,) = json.loads(call("bus_replay_runs", "--stop", str(begun["id"]), "--json"))
    assert stopped["state"] == "stopped"
    assert "stopped by command:" in call("bus_replay_runs")
    for wrong in (("--start",), ("--stop", "99999")):
        with pytest.raises(CommandError) as caught:
            call("bus_replay_runs", *wrong)
        assert caught.value.returncode == 2


def test_what_its_service_has_on_record_as_handled_is_skipped_unless_it_was_given_up_since(
    group: str,
) -> None:
    for message_id in ("m0", "m1"):
        letter = DeadLetter.objects.get(message_id=message_id)
        InboxMessage.objects.create(
            message_id=message_id,
            service="billing",
            generation=0,
            created_at=letter.parked_at,
            state="handled",
        )
    DeadLetter.objects.filter(message_id="m1").update(generation=1)
    run = begin(group, rate=1000)
    step(run, 1.0)
    assert counted(run) == (0, 1, 0, 9, 0)


def test_the_command_leaves_out_what_the_page_leaves_out(group: str) -> None:
    DeadLetter.objects.filter(message_id="m1").update(edited_as="another")
    park("other", file="mail.py")
    printed = call("bus_replay", "--fingerprint", group, "--dry-run")
    assert "9 would be replayed" in printed
    printed = call("bus_replay", "--fingerprint", group)
    assert printed.startswith("9 replayed, 1 skipped")
    assert call("bus_replay", "--fingerprint", group, "--force") == "1 replayed.\n"
    assert DeadLetter.objects.get(message_id="other").state == "parked"
