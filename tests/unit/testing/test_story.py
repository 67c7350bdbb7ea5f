from messaging.testing.facts import Fact, FactKind
from messaging.testing.story import story


def of(kind: FactKind, **more: object) -> Fact:
    values = {"service": "b", "message_id": "1", "type": "work", "source": "a", "target": "b"}
    return Fact(**{"kind": kind, "said_as": "command", **values, **more})  # type: ignore[arg-type]


def test_attempts_are_told_by_number_whichever_thread_noted_its_own_first() -> None:
    facts = [
        of(FactKind.PUBLISHED, service="a"),
        of(FactKind.FAILED, attempt=1, error="no"),
        of(FactKind.HANDLED),
        of(FactKind.FAILED, attempt=2, error="no"),
        of(FactKind.PUBLISHED, service="a"),
        of(FactKind.RETRIED, attempt=3),
        of(FactKind.RETRIED, attempt=2),
    ]
    assert story(facts, {("1", "b"): 1}) == [
        "a tells b: work",
        "  b fails at attempt 1: no",
        "  b tries again later, as attempt 2",
        "  b fails at attempt 2: no",
        "  b tries again later, as attempt 3",
        "  b handles it",
        "  b did it",
    ]


def test_what_happened_twice_is_told_twice() -> None:
    told = story(
        [of(FactKind.PUBLISHED, service="a"), *2 * [of(FactKind.HANDLED)]], {("1", "b"): 2}
    )
    assert told[1:] == ["  b handles it", "  b handles it", "  b has done it 2 times"]
