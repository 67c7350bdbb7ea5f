"""`messaging.testing` and real brokers with real workers tell the same story."""

import json
from collections.abc import Iterable
from typing import Final

import pytest
from django.db import connection

from messaging import codec
from messaging.testing import Fact, Harness
from messaging.testing.story import story
from tests.support.installation import Installation
from tests.support.stories import (
    COUNT_EFFECTS,
    EARLY,
    EFFECTS,
    SCENARIOS,
    SERVICES,
    effects,
    service,
)
from tests.support.waiting import eventually

Stories = dict[str, list[str]]


#: What becomes of each scenario, as an author reads it.
TOLD: Final = """\
# handled
tester tells counter: work
  counter handles it
  counter did it

# at the third attempt
tester tells counter: work.thrice
  counter fails at attempt 1: ValueError: not yet
  counter fails at attempt 2: ValueError: not yet
  counter handles it
  counter did it

# retried, then handled
tester tells counter: work.later
  counter fails at attempt 1: ValueError: not yet
  counter tries again later, as attempt 2
  counter handles it
  counter did it

# exhausted
tester tells counter: work.never
  counter fails at attempt 1: ValueError: never
  counter tries again later, as attempt 2
  counter fails at attempt 2: ValueError: never
  counter tries again later, as attempt 3
  counter fails at attempt 3: ValueError: never
  counter parks it: attempts_exhausted

# refused
tester tells counter: work.refused
  counter parks it: rejected

# postponed by its handler
tester tells counter: work.postponed
  counter tries again later, as attempt 2
  counter handles it
  counter did it

# expired
tester tells counter: work
  counter finds it expired
  counter parks it: expired

# invalid
tester tells counter: work.valid
  counter parks it: invalid

# nobody's
tester tells counter: work.unheard.of
  counter parks it: no_handler

# to all
tester announces: news.plain
  counter handles it
  counter did it
  mirror handles it
  mirror did it

# asked
tester asks counter: ask.twice
  counter handles it
counter answers tester: ask.twice
tester is told 8

# asked in vain
tester asks counter: ask.missing
  counter fails at attempt 1: there is none
counter answers tester: ask.missing
tester is told Reject, not_found: there is none

# asked, who asks
tester asks counter: ask.other
  counter handles it
counter answers tester: ask.other
counter asks mirror: ask.twice
  mirror handles it
mirror answers counter: ask.twice
tester is told 8

# delayed
tester tells counter: work
  counter handles it
  counter did it

# a chain
tester tells counter: chain.begun
  counter handles it
counter tells mirror: chain.continued
  mirror handles it
mirror announces: news.chain
  counter handles it
  counter did it
  mirror handles it
  mirror did it

# delivered twice
tester tells counter: work.kept
  counter handles it
  counter did it

# killed in the handler
tester tells brittle: work.fatal
  brittle handles it
  brittle did it

# critical
tester tells counter: work.kept
  counter handles it
  counter did it"""
#: Said once all others are told.
LAST: Final = "critical"


def told_by_the_harness(bus: Harness) -> Stories:
    with connection.cursor() as cursor:
        cursor.execute(EFFECTS)
    for name in SERVICES:
        bus.service(service(name, lambda: None))
    tester = bus.speaker("tester")
    for name in SERVICES:
        bus.stop(name)
    for name in EARLY:
        SCENARIOS[name](tester, name)
    bus.advance(1)
    for name in SERVICES:
        bus.start(name)
    bus.crash("brittle", during="work.fatal")
    answers = {}
    for name, say in SCENARIOS.items():
        if name == "delivered twice":
            bus.duplicate("work.kept")
        if name not in EARLY:
            answers[name] = say(tester, name)
            bus.settle()
    bus.advance("1m")
    with connection.cursor() as cursor:
        cursor.execute(COUNT_EFFECTS)
        done = effects(cursor.fetchall())
    assert not bus.unaccounted()
    return all_told(bus.facts(), done, answers)


def all_told(
    facts: Iterable[Fact], done: dict[tuple[str, str], int], answers: dict[str, str]
) -> Stories:
    facts = list(facts)
    stories = {}
    for name in SCENARIOS:
        of_it = [fact for fact in facts if fact.correlation_id == name]
        ids = {fact.message_id for fact in of_it}
        lines = story(of_it, {key: count for key, count in done.items() if key[0] in ids})
        answer = answers.get(name)
        stories[name] = [*lines, f"tester is told {answer}"] if answer else lines
    return stories


def rendered(stories: Stories) -> str:
    return "\n\n".join("\n".join((f"# {name}", *lines)) for name, lines in stories.items())


class Workers:
    """The same services as real workers of an installation."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._database = installation.database()
        self._database.execute(EFFECTS)
        self._answers: dict[str, str] = {}
        installation.variables["STORY_JOURNAL"] = str(installation.journal("stories").path)
        installation._services.update((*SERVICES, "tester", "other"))

    def start(self, name: str) -> None:
        self._installation.start(
            name,
            *("celery", "-A", "tests.support.storyteller", "worker"),
            STORY_SERVICE=name,
        )

    def wait_ready(self, starts: int) -> None:
        journal = self._installation.journal("stories")
        eventually(lambda: len(journal.lines(event="ready")) == starts, 60, "workers ready")

    def say(self, *names: str) -> None:
        done = self._installation.run("python", "-m", "tests.support.story_sender", *names)
        assert done.returncode == 0, done.stderr
        self._answers |= json.loads(done.stdout)

    def duplicate(self, name: str) -> None:
        """Put a copy of what is under custody on the broker, as a relay does that was not told."""
        envelope = next(
            envelope
            for (body,) in self._database.execute("SELECT envelope FROM messaging_outboxmessage")
            if (envelope := codec.decode(body)).correlation_id == name
        )
        self._installation.communicator("other").bus.publish(envelope, publishes=2)

    def told(self) -> str:
        entries = self._installation.journal("stories").lines(event="fact")
        facts = [Fact.from_json(entry) for entry in entries]
        done = effects(self._database.execute(COUNT_EFFECTS).fetchall())
        return rendered(all_told(facts, done, self._answers))


def told_by_a_broker(installation: Installation, expected: str) -> str:
    workers = Workers(installation)
    workers.say(*EARLY)
    for name in SERVICES:
        workers.start(name)
    workers.wait_ready(len(SERVICES))
    workers.say(*(name for name in SCENARIOS if name not in (*EARLY, LAST)))
    workers.duplicate("delivered twice")
    # Killed by its handler: somebody starts it again.
    died = installation.journal("stories").path.with_suffix(".died")
    eventually(died.exists, 60, "the worker of brittle has died")
    workers.start("brittle")

    def is_told() -> bool:
        told = workers.told().partition(f"# {LAST}")[0]
        return told == expected.partition(f"# {LAST}")[0]

    try:
        eventually(is_told, 60)
    except AssertionError:
        return workers.told()
    # Behind all that is told by then: what came twice or late shows in what is told after it.
    workers.say(LAST)
    eventually(lambda: "handles" in workers.told().partition(f"# {LAST}")[2], 60)
    return workers.told()


@pytest.mark.django_db
def test_harness_and_broker_tell_the_same_story(installation: Installation) -> None:
    with Harness() as bus:
        assert rendered(told_by_the_harness(bus)) == TOLD
    assert told_by_a_broker(installation, TOLD) == TOLD
