import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand

from gateway_app import deadletters
from gateway_app.management.commands import (
    bus_account,
    bus_broadcast,
    bus_dead_letters,
    bus_discard,
    bus_replay,
    bus_replay_runs,
    bus_request,
    bus_send,
    demo,
    run_stack,
)
from gateway_app.models import Service
from messaging import MessageBus, codec
from messaging.clock import SYSTEM_CLOCK
from messaging.deadletter import DeadLetter, DeadLetterReason
from tests.support.brokers import BROKERS, require
from tests.unit.test_codec import an_envelope

pytestmark = pytest.mark.django_db


def typed(command: type[BaseCommand], *arguments: str) -> Any:
    """Parse and run a command as the shell would."""
    parser = command().create_parser("manage.py", command.__module__.rpartition(".")[2])
    return parser.parse_args(list(arguments))


def call(name: str, *arguments: str) -> str:
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


def test_bus_send_prints_the_id_of_the_message_it_sent(own_broker: MessageBus) -> None:
    message_id = call("bus_send", "b", "work", '{"n": 1}', "--priority", "high").strip()
    with own_broker.connection() as connection:
        message = own_broker.topology.service_queue("b")(connection.channel()).get(no_ack=True)
        envelope = codec.decode(message.body)
    assert (envelope.id, envelope.data, envelope.priority) == (message_id, {"n": 1}, "HIGH")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (bus_send.Command, ["b"]),
        (bus_send.Command, ["b", "work", "{nonsense"]),
        (bus_send.Command, ["b", "work", "--priority", "urgent"]),
        (bus_send.Command, ["b", "work", "--delay", "-1"]),
        (bus_send.Command, ["b", "work", "--delay", "nan"]),
        (bus_send.Command, ["b", "work", "--expires", "0"]),
        (bus_send.Command, ["b", "work", "--colour", "red"]),
        (bus_send.Command, ["b", "work", "NaN"]),
        (bus_send.Command, ["b", "work", "[1e999]"]),
        (bus_send.Command, ["b", "work", '"\\ud800"']),
        (bus_send.Command, ["b", "work", "[" * 100_000]),
        (bus_replay.Command, ["--limit", "99999999999999999999"]),
        (bus_replay.Command, ["--limit", "9" * 5_000]),
        (demo.Command, ["--foo"]),
        (run_stack.Command, ["--foo"]),
        (bus_broadcast.Command, []),
        (bus_request.Command, ["b", "work", "--timeout", "soon"]),
        (bus_dead_letters.Command, ["--reason", "boredom"]),
        (bus_dead_letters.Command, ["--state", "boredom"]),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    command: type[BaseCommand], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        typed(command, *arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["reason", "state"])
def test_a_name_that_is_none_is_told_with_those_there_are_and_nothing_of_python(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        typed(bus_dead_letters.Command, f"--{name}", "nope")
    told = capsys.readouterr().err
    assert "<" not in told
    assert {"reason": "attempts_exhausted, no", "state": "parked, replayed"}[name] in told


@pytest.mark.parametrize("arguments", [("a b", "work"), ("b", "no spaces"), ("b", "")])
def test_names_that_are_none_are_wrong_input_as_well(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as caught:
        call("bus_send", *arguments)
    assert caught.value.returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("bus_explain", "m0"),
        ("bus_edit", "m0", "{}"),
        ("bus_note", "abc", "--owner", "x"),
        ("bus_send", "b", "work", f'"{"x" * 300_000}"'),
    ],
)
def test_what_nobody_knows_and_what_cannot_be_sent_are_wrong_input(
    arguments: tuple[str, ...],
) -> None:
    with pytest.raises(CommandError) as caught:
        call(*arguments)
    assert caught.value.returncode == 2


def test_a_request_to_nobody_fails_in_under_a_second_and_says_so() -> None:
    began = SYSTEM_CLOCK.monotonic()
    with pytest.raises(CommandError, match="no service named 'nobody'") as caught:
        call("bus_request", "nobody", "x")
    assert caught.value.returncode == 1
    assert SYSTEM_CLOCK.monotonic() - began < 1


def test_lists_are_json_and_nothing_else_where_asked() -> None:
    assert json.loads(call("bus_services", "--json")) == []
    assert json.loads(call("bus_dead_letters", "--json")) == []
    assert "No service" in call("bus_services")
    assert "No dead letters" in call("bus_dead_letters")


def test_dead_letters_are_listed_as_programs_read_them_and_once_however_often_parked() -> None:
    envelope = an_envelope()
    letter = DeadLetter(
        message_id=envelope.id,
        service="b",
        reason=DeadLetterReason.REJECTED,
        error="no\nway",
        attempts=2,
        envelope=codec.to_mapping(envelope),
    )
    for _ in range(2):
        deadletters.park(DeadLetter.from_json(letter.to_json()))
    (found,) = json.loads(call("bus_dead_letters", "--json", "--service", "b"))
    del found["parked_at"]
    assert len(found.pop("fingerprint")) == 16
    assert found == {
        "id": envelope.id,
        "type": "get.user.details",
        "source": "a",
        "service": "b",
        "priority": "HIGH",
        "reason": "rejected",
        "error": "no\nway",
        "attempts": 2,
        "state": "parked",
    }
    assert "no way" in call("bus_dead_letters")
    assert json.loads(call("bus_dead_letters", "--json", "--service", "c")) == []


@pytest.mark.parametrize(
    "text", ["99999999d", "99999999999999d", "5000000d", "9999-12-31T23:59:59-12:00"]
)
@pytest.mark.parametrize(
    "command",
    [
        bus_account.Command,
        bus_dead_letters.Command,
        bus_discard.Command,
        bus_replay.Command,
        bus_replay_runs.Command,
    ],
)
def test_an_instant_out_of_the_calendar_is_no_traceback_and_no_lost_message(
    command: type[BaseCommand], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 of bus_account says that a message is lost, and a typo said it too."""
    with pytest.raises(SystemExit) as ended:
        typed(command, "--since", text)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "expected an instant" in told
    assert told.count("\n") == 1


def test_the_first_instant_of_the_calendar_has_nothing_before_it() -> None:
    assert typed(bus_account.Command, "--since", "0001-01-01T00:00").since.year == 1
    with pytest.raises(SystemExit):
        typed(bus_account.Command, "--since", "0001-01-01T00:00:00+12:00")
    assert "unaccounted         0" in call("bus_account", "--since", "0001-01-01T00:00")


def test_an_instant_to_send_at_says_whose_clock_is_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for wrong in ("tomorrow", "2027-01-31T08:00", "2027-01-31", "9999-12-31T23:00-12:00"):
        with pytest.raises(SystemExit) as ended:
            typed(bus_send.Command, "billing", "work", "--at", wrong)
        assert ended.value.code == 2
        assert "offset from UTC" in capsys.readouterr().err
    read = typed(bus_send.Command, "billing", "work", "--at", "2027-01-31T08:00+01:00")
    assert read.at.isoformat() == "2027-01-31T08:00:00+01:00"


def test_bus_send_says_when_nobody_of_that_name_is_known(own_broker: MessageBus) -> None:
    err = StringIO()
    call_command("bus_send", "bilingservice", "work", stdout=StringIO(), stderr=err)
    assert "no service 'bilingservice' has ever registered" in err.getvalue()
    Service.objects.create(name="billing")
    err = StringIO()
    call_command("bus_send", "billing", "work", stdout=StringIO(), stderr=err)
    assert err.getvalue() == ""


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("amqp://guest:wrong@127.0.0.1:5672//", "the broker refuses the login"),
        ("amqp://guest:guest@127.0.0.1:1//", "no broker at amqp://guest:\\*\\*@127.0.0.1:1//"),
        ("redis://127.0.0.1:1/0", "no broker at redis://127.0.0.1:1/0"),
        ("nonsense", "expected a URL"),
        ("confluentkafka://127.0.0.1", "kombu cannot use confluentkafka://127.0.0.1"),
    ],
)
def test_a_broker_that_lets_nobody_in_is_no_broken_promise(url: str, told: str) -> None:
    """For minutes nothing was said, and then that the broker breaks all of them."""
    if "wrong" in url:
        require(BROKERS["amqp"])
    began = SYSTEM_CLOCK.monotonic()
    with pytest.raises(CommandError, match=told) as caught:
        call("bus_conformance", "--broker", url)
    assert caught.value.returncode == 2
    assert SYSTEM_CLOCK.monotonic() - began < 10
