"""The sentence at the top: its level, and whom it names."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_app.models import State
from gateway_app.ops.verdict import Facts, Level, ServiceFacts, facts_below, judge

NOW = datetime(2026, 3, 4, 14, 32, tzinfo=UTC)
UP, DOWN, SUSPECT, MAINTENANCE = State.UP, State.DOWN, State.SUSPECT, State.MAINTENANCE


def service(name: str = "billing-service", *states: State, **known: Any) -> ServiceFacts:
    return ServiceFacts(name=name, states=states or (UP, UP), **known)


def facts(*services: ServiceFacts, **known: Any) -> Facts:
    return Facts(now=NOW, services=services or (service(),), **known)


def said(facts: Facts) -> str:
    return "".join(word.text for word in judge(facts).sentence)


@pytest.mark.parametrize(
    ("known", "level", "words"),
    [
        (facts(), Level.OK, "The one service is up. Nothing is to be done."),
        (facts(service("a"), service("b")), Level.OK, "All 2 services are up. Nothing"),
        (facts(service("a", UP, SUSPECT)), Level.OK, "The one service is up"),
        (
            facts(service("a", UP, DOWN, troubled_since=NOW - timedelta(minutes=27))),
            Level.DEGRADED,
            "0 of 1 service fully up. a runs on 1 of 2 instances since 14:05:00.",
        ),
        (
            facts(service("a", parked=28, parked_since=NOW - timedelta(hours=3))),
            Level.DEGRADED,
            "1 of 1 service fully up. a has parked 28 messages since 11:32:00.",
        ),
        (
            facts(service("a", grows_by_minute=3.61)),
            Level.DEGRADED,
            "1 of 1 service fully up. the queue of a grows by 3.6/min.",
        ),
        (facts(service("a", DOWN)), Level.FAILING, "a has no instance that serves."),
        (facts(service("a", MAINTENANCE)), Level.OK, "The one service"),
        (facts(unaccounted=1), Level.FAILING, "1 message unaccounted for."),
        (
            facts(critical_count=2, critical_since=NOW - timedelta(minutes=3)),
            Level.FAILING,
            "2 CRITICAL messages not handled, the oldest sent at 14:29:00.",
        ),
        (facts(critical_count=2, critical_since=NOW - timedelta(seconds=3)), Level.OK, "The one"),
        (facts(registry_trouble="Nobody has looked."), Level.BLIND, "Cannot see. Nobody has"),
        (facts(broker_trouble="refused"), Level.BLIND, "Cannot see. refused"),
    ],
)
def test_level_and_words(known: Facts, level: Level, words: str) -> None:
    assert judge(known).level is level
    assert words in said(known)


def test_an_instance_that_is_gone_for_good_is_no_service_without_any() -> None:
    gone = ServiceFacts(name="a", states=())
    assert judge(facts(gone)).level is Level.FAILING


def test_the_worst_comes_first_two_causes_are_named_and_the_others_counted() -> None:
    known = facts(
        service("a", parked=1),
        service("b", parked=9),
        service("c", DOWN),
        service("d", UP, DOWN),
        unaccounted=3,
    )
    text = said(known)
    assert text.index("3 messages unaccounted") < text.index("c has no instance")
    assert text.endswith("; and 3 more.")
    assert "b has parked" not in text


def test_names_of_services_are_marked_to_be_linked() -> None:
    kinds = {word.text: word.kind for word in judge(facts(service("a", DOWN))).sentence}
    assert kinds["a"] == "service"


def test_three_facts_are_always_said_in_the_same_order() -> None:
    below = facts_below(facts(), NOW)
    assert [fact.strong for fact in below] == ["0 unaccounted,", "No CRITICAL message", "No queue"]
    known = facts(
        service("a", grows_by_minute=2.0),
        unaccounted=1,
        critical_count=1,
        critical_since=NOW - timedelta(hours=1),
    )
    assert [fact.css for fact in facts_below(known, NOW)] == ["down", "down", "suspect"]
    assert facts_below(facts(unaccounted=None), None)[0].text == "being balanced"
