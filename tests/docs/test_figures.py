"""Figures that stand on two pages, or on a page and in the code, are the same."""

import re
from itertools import chain
from typing import Final

import pytest

from messaging.events import STUCK_AT
from messaging.retry import DEFAULT_POLICIES, RetryPolicy
from tests.support.processes import ROOT

_FIGURE: Final = re.compile(r"\b\d{1,3}(?:,\d{3})+\b|\b\d{3,}\b")
PERFORMANCE: Final = (ROOT / "docs/performance.md").read_text()
SCALING: Final = (ROOT / "docs/scaling.md").read_text()
GUARANTEES: Final = (ROOT / "docs/guarantees.md").read_text()


def row_of(page: str, begin: str) -> list[str]:
    """Return the cells after the first one of the only row of a table that begins so."""
    (line,) = re.findall(rf"^\| {re.escape(begin)}.*$", page, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


@pytest.mark.parametrize(
    ("part", "measured"),
    [
        ("publishing", ["W1 published/s"]),
        ("a service's workers", ["W1 handled/s"]),
        ("CRITICAL", ["W5 CRITICAL accepted/s", "W5 CRITICAL handled and settled/s"]),
        ("HTTP through the gateway", ["requests/s, eight clients"]),
    ],
)
def test_scaling_has_the_figures_of_performance(part: str, measured: list[str]) -> None:
    """Embedded, RabbitMQ, Redis."""
    rows = [row_of(PERFORMANCE, begin)[:3] for begin in measured]
    assert _FIGURE.findall(row_of(SCALING, part)[0]) == [
        cell.partition(":")[0] for cell in chain.from_iterable(rows)
    ]


@pytest.mark.parametrize(
    ("scaling", "performance"),
    [
        (
            r"5 viewers: accepting ([\d.]+), handling ([\d.]+) \(W12\)",
            r"accepting takes ([\d.]+) times .*?handling ([\d.]+) times",
        ),
        (
            r"a tenth dead: ([\d.]+) s, ([\d.]+) s of CPU \(W11\)",
            r"\(W11.*?: ([\d.]+) s on the embedded.*?with ([\d.]+) and",
        ),
        (r"a route among 10,000 found in (\d+) µs", r"a route found among 10,000 \| (\d+) µs"),
    ],
)
def test_so_have_their_sentences(scaling: str, performance: str) -> None:
    here = re.search(scaling, SCALING)
    there = re.search(performance, PERFORMANCE, re.DOTALL)
    assert here is not None
    assert there is not None
    assert here.groups() == there.groups()


def test_attempts_are_what_the_policies_say() -> None:
    table = GUARANTEES.partition("## How often")[2].partition("\n## ")[0]
    for priority, policy in DEFAULT_POLICIES.items():
        in_a_round, rounds, in_all, pauses, afterwards = row_of(table, f"{priority.name} |")
        assert in_a_round == str(policy.immediate)
        if policy.delayed is None:
            assert (rounds, in_all) == ("without end", "without end")
            assert afterwards == f"never given up; `message_stuck` after {STUCK_AT}"
            *first, last = pauses.split(", ")
            assert last == f"then {policy.cap_seconds:g}"
            assert first == longest_pauses(policy, len(first))
            assert longest_pauses(policy, len(first) + 1)[-1] == f"{policy.cap_seconds:g}"
        else:
            assert (rounds, in_all) == (str(policy.delayed + 1), str(policy.most))
            assert pauses.split(", ") == longest_pauses(policy, policy.delayed)
            assert afterwards == "dead letter"
        assert f"between {policy.floor_seconds:g} s and" in table


def longest_pauses(policy: RetryPolicy, rounds: int) -> list[str]:
    """Return the longest pause after each of so many rounds, in seconds."""
    found = []
    for number in range(1, rounds + 1):
        seconds = policy.delay_after(number * policy.immediate, uniform=lambda _least, most: most)
        assert seconds is not None
        found.append(f"{seconds:g}")
    return found
