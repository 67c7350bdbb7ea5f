"""What a soak makes of what it found: each promise can be broken."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.soak.evidence import Evidence, Letter
from tests.soak.names import SERVICES, STEADY
from tests.soak.records import Sending
from tests.soak.supervising import Ended
from tests.soak.turns import Span
from tests.soak.verdict import Check, judge

ACCOUNT = {
    "accepted": 1,
    "handled": 1,
    "parked": 0,
    "expired": 0,
    "in_flight": 0,
    "unaccounted": 0,
    "duplicates": 0,
    "messages": [],
}
LEDGER, CRITICAL, DURABLE, OTHERS = (
    "the ledger accounts for everything",
    "every accepted CRITICAL message has exactly one effect",
    "every accepted durable message has one effect, or is a dead letter",
    "no other accepted message is lost, but what docs/guarantees.md allows",
)
INVENTED, REFUSED, ANSWERS, LETTERS, ENDED = (
    "no effect without an accepted message",
    "callers of NORMAL and up see no error, unless the database cannot be written",
    "no request has the answer to another one",
    "every dead letter has a reason that a fault explains",
    "no process ended by itself",
)


def sending(priority: str = "CRITICAL", **more: Any) -> Sending:
    values: dict[str, Any] = {
        "number": "n1",
        "how": "command",
        "service": STEADY,
        "priority": priority,
        "begun_at": 100.0,
        "ended_at": 100.1,
        "message_id": "m1",
    }
    return Sending(**values | more)


def evidence(*sendings: Sending, **more: Any) -> Evidence:
    """All is well: each has its effect."""
    accepted = [each for each in sendings if each.is_accepted]
    values: dict[str, Any] = {
        "broker": "sqlite",
        "sendings": list(sendings),
        "effects": Counter((each.message_id, at) for each in accepted for at in each.receivers),
        "numbers": {each.number for each in accepted},
        "account": ACCOUNT,
        "letters": [],
        "spans": [],
    }
    return Evidence(**values | more)


def broken(found: Evidence) -> list[str]:
    checks: list[Check] = judge(found, [])
    return [check.name for check in checks if not check.is_kept]


def letter(reason: str = "attempts_exhausted", error: str = "OperationalError") -> Letter:
    return Letter("m1", STEADY, "soak.plain", reason, error, 110.0)


def test_nothing_is_broken_where_everything_has_its_effect() -> None:
    event = sending(service="", number="n2", message_id="m2")
    found = evidence(sending(), event)
    assert broken(found) == []
    assert len(found.effects) == 1 + len(SERVICES)


@pytest.mark.parametrize("count", [0, 2])
def test_a_critical_message_with_no_effect_or_two(count: int) -> None:
    found = evidence(sending(), effects=Counter({("m1", STEADY): count} if count else {}))
    assert broken(found) == [CRITICAL]


def test_a_critical_dead_letter_is_no_effect() -> None:
    spans = [Span("worker killed", 100, 105)]
    found = evidence(sending(), effects=Counter(), letters=[letter("killed_worker")], spans=spans)
    assert broken(found) == [CRITICAL]


def test_a_durable_message_ends_with_its_effect_or_a_dead_letter() -> None:
    durable = sending("NORMAL", how="respond-async")
    spans = [Span("database locked", 100, 105)]
    assert broken(evidence(durable, effects=Counter())) == [DURABLE]
    assert broken(evidence(durable, effects=Counter(), letters=[letter()], spans=spans)) == []


def test_a_lost_message_is_told_from_one_that_came_twice() -> None:
    assert broken(evidence(sending("HIGH"), effects=Counter())) == [OTHERS]
    assert broken(evidence(sending("HIGH"), effects=Counter({("m1", STEADY): 2}))) == []


@pytest.mark.parametrize(
    ("broker", "name", "begun_at", "is_allowed"),
    [
        ("sqlite", "broker wiped", 101, True),
        ("sqlite", "broker wiped", 300, False),
        ("sqlite", "worker killed", 101, False),
        ("redis", "worker killed", 101, False),
        ("amqp", "broker killed", 101, True),
        ("redis", "broker killed", 101, False),
    ],
)
def test_a_loss_is_allowed_where_the_guarantees_say_so(
    broker: str, name: str, begun_at: float, is_allowed: bool
) -> None:
    spans = [Span(name, begun_at, begun_at + 4)]
    found = evidence(sending("NORMAL"), broker=broker, effects=Counter(), spans=spans)
    assert broken(found) == ([] if is_allowed else [OTHERS])


def test_what_waited_for_an_absent_broker_was_on_it_later() -> None:
    wiped = Span("broker wiped", 250, 255)
    normal = sending("NORMAL")
    assert broken(evidence(normal, effects=Counter(), spans=[wiped])) == [OTHERS]
    spans = [Span("broker restarted", 99, 200), wiped]
    assert broken(evidence(normal, effects=Counter(), spans=spans)) == []


def test_what_was_at_the_end_of_a_flood_waited_longer() -> None:
    low, spans = sending("LOW"), [Span("broker wiped", 300, 304)]
    assert broken(evidence(low, effects=Counter(), spans=spans)) == []


def test_an_effect_that_nobody_had_sent() -> None:
    refused = sending("LOW", message_id="", error="BrokerUnavailable")
    assert broken(evidence(refused, numbers={"n1"})) == [INVENTED]
    uncertain = replace(refused, error="PublishUncertain")
    assert broken(evidence(uncertain, numbers={"n1"})) == []


def test_a_caller_who_sees_an_error_that_the_database_does_not_explain() -> None:
    refused = sending("NORMAL", message_id="", error="BrokerUnavailable")
    assert broken(evidence(refused, spans=[Span("broker wiped", 99, 103)])) == [REFUSED]
    assert broken(evidence(refused, spans=[Span("disk full", 99, 103)])) == []


def test_the_answer_to_another_question() -> None:
    wrong = sending(how="request", message_id="", error="WrongAnswer")
    late = replace(wrong, error="RequestTimeout")
    assert broken(evidence(wrong)) == [ANSWERS]
    assert broken(evidence(late)) == []


def test_a_dead_letter_that_no_fault_explains() -> None:
    normal = sending("NORMAL")
    assert broken(evidence(normal, letters=[letter()])) == [LETTERS]
    spans = [Span("database locked", 100, 108)]
    assert broken(evidence(normal, letters=[letter()], spans=spans)) == []
    own = letter(error="tests.soak.service.NowAndThen: at the first attempts")
    assert broken(evidence(normal, letters=[own], spans=spans)) == [LETTERS]


def test_a_process_that_ended_by_itself() -> None:
    assert broken(evidence(ended=[Ended("web", 1.0, 1, "Traceback …")])) == [ENDED]
    assert broken(evidence(traffic_code=1)) == [ENDED]


def test_what_the_ledger_does_not_account_for() -> None:
    assert broken(evidence(account={**ACCOUNT, "unaccounted": 1})) == [LEDGER]
    assert broken(evidence(account={**ACCOUNT, "in_flight": 1})) == [LEDGER]
