"""The edges of the map, from what is known of the flow; services as groups."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from gateway_app.flow import summaries
from gateway_app.flow.rows import Deliveries, Edge
from gateway_app.models import DeadLetter
from gateway_app.ops import edge_history, edges, grouping, mapped
from gateway_app.ops.edges import Flow, Key
from gateway_app.ops.question import BadQuestion
from messaging.histogram import bucket_of
from tests.gateway_app.flow.test_flow import a_row, keep

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 25, 14, 32, 10, tzinfo=UTC)
KEY = Key("shop", "billing", "order.paid")
HIGH = Edge("shop", "billing", "order.paid", "command", "HIGH")
LOW = HIGH._replace(priority="LOW")
MINUTE = timedelta(minutes=1)


def deliveries(count: int, failures: int = 0) -> Deliveries:
    waiting, handling = {bucket_of(0.5): count}, {bucket_of(0.01): count}
    return Deliveries(count, failures, waiting, handling, {bucket_of(0.51): count - failures})


def handled(at: datetime, **changes: Any) -> None:
    keep("billing", [a_row(at, **changes)], at)
    summaries.add_up(at)


@pytest.mark.parametrize(
    ("count", "failures", "state"),
    [
        (0, 0, "idle"),
        (100, 0, "ok"),
        (2, 2, "ok"),  # two are no trouble yet
        (3, 3, "failing"),
        (60, 3, "failing"),
        (61, 3, "ok"),  # less than 5 %
    ],
)
def test_an_edge_fails_with_three_failures_that_are_five_percent(
    count: int, failures: int, state: str
) -> None:
    assert Flow(KEY, "command", "HIGH", deliveries(count, failures)).state == state


def test_priorities_of_one_type_are_one_edge_named_by_most_of_them() -> None:
    found = edges.flowing({LOW: deliveries(30), HIGH: deliveries(60, 1)}, 300.0)
    assert list(found) == [KEY]
    flow = found[KEY]
    assert (flow.priority, flow.deliveries.count, flow.deliveries.failures) == ("HIGH", 90, 1)
    assert flow.rate == pytest.approx(0.3)
    assert flow.slowest == pytest.approx(0.51, rel=0.25)


def test_a_rate_is_that_of_the_last_seconds_where_they_are_enough_to_tell() -> None:
    window = {HIGH: deliveries(60)}
    assert edges.flowing(window, 300.0, {HIGH: deliveries(30)}, 30.0)[KEY].rate == 1.0
    assert edges.flowing(window, 300.0, {HIGH: deliveries(2)}, 30.0)[KEY].rate == 0.2
    assert edges.flowing(window, 300.0, {}, 30.0)[KEY].rate == 0.2
    # It has not been there for long.
    assert edges.flowing({}, 300.0, {HIGH: deliveries(30)}, 30.0)[KEY].state == "ok"


def test_an_instant_shows_the_five_minutes_that_it_ends() -> None:
    handled(NOW - 5 * MINUTE, type="order.early", count=10)
    handled(NOW - 4 * MINUTE, count=10, failures=0)
    handled(NOW, count=20, failures=3)
    handled(NOW + MINUTE, type="order.late", count=10)
    found = edges.flowed_at(NOW, NOW + timedelta(hours=1))
    assert {key.type: flow.deliveries.count for key, flow in found.items()} == {"order.paid": 30}
    assert found[KEY].state == "failing"
    assert found[KEY].rate == pytest.approx(0.1)
    assert edges.flowed_at(NOW - MINUTE, NOW)[KEY].state == "ok"
    # Long ago only the hour is known.
    long_ago = edges.flowed_at(NOW, NOW + timedelta(days=8))
    assert len(long_ago) == 3
    assert long_ago[KEY].rate == pytest.approx(30 / 3600)


def test_edges_of_the_range_are_idle_when_nothing_goes_there_now(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for ago, message_type in ((20, "a"), (21, "a"), (90, "b"), (60 * 20, "c"), (60 * 30, "d")):
        handled(NOW - ago * MINUTE, type=message_type)
    with django_assert_num_queries(2):
        day = edges.last_flowed(timedelta(hours=24), NOW)
    assert {key.type for key in day} == {"a", "b", "c"}
    assert {key.type for key in edges.last_flowed(timedelta(hours=1), NOW)} == {"a"}
    assert {key.type for key in edges.last_flowed(timedelta(days=7), NOW)} == set("abcd")
    a, b, c = (
        mapped.edges([flow], {"shop": "shop", "billing": "billing"}, NOW)[0]
        for flow in edges.with_idle({}, day)
    )
    assert (a.text, b.text, c.text) == ("idle 19 min", "idle 1 h", "idle 19 h")
    flowing = edges.flowing({HIGH._replace(type="a"): deliveries(5)}, 300.0)
    states = [flow.state for flow in edges.with_idle(flowing, day)]
    assert states == ["ok", "idle", "idle"]


@pytest.mark.parametrize("text", ["", "a", "a|b", "a|b|c|d"])
def test_an_edge_that_cannot_be_one_is_refused(text: str) -> None:
    with pytest.raises(BadQuestion, match=r"source\|target\|type"):
        Key.parse(text)


def test_the_history_of_an_edge_says_since_when_it_fails() -> None:
    handled(NOW - 50 * MINUTE, failures=1)
    for ago in range(40, 20, -1):
        handled(NOW - ago * MINUTE, failures=0)
    for ago in (20, 19, 17, 3):
        handled(NOW - ago * MINUTE, failures=2, last_error=f"ago {ago}")
    handled(NOW, type="order.other", failures=3)
    for number in range(5):
        DeadLetter.objects.create(
            message_id=f"m{number}",
            service="billing",
            source="shop",
            type="order.paid",
            reason="invalid",
            parked_at=NOW - number * MINUTE,
        )
    history = edge_history.read(KEY, "1h", NOW)
    assert (history.total.count, history.total.failures) == (75, 9)
    assert history.total.last_error == "ago 3"
    assert len(history.points) == len(history.shares) == 60
    assert history.failing_since == (NOW - 20 * MINUTE).replace(second=0)
    assert history.parked == 5
    assert [failure.message_id for failure in history.latest] == ["m0", "m1", "m2"]
    assert len(edge_history.read(KEY, "24h", NOW).points) == 24
    week = edge_history.read(KEY, "7d", NOW)
    assert (len(week.points), week.total.count) == (56, 75)
    assert edge_history.read(KEY, "1h", NOW - timedelta(hours=3)).failing_since is None


def test_few_services_are_drawn_one_by_one() -> None:
    names = [f"service-{number}" for number in range(grouping.MOST_NODES)]
    assert grouping.groups(names, []) == {name: name for name in names}


@pytest.mark.parametrize(
    "name_of",
    [
        lambda n: f"svc-{n:03}",
        lambda n: f"service-{n}",
        lambda n: f"team-{n % 7}-part-{n}",
        lambda n: "a" * (n + 1),
        lambda n: f"{n:x}",
    ],
)
def test_many_services_become_few_groups_by_how_they_begin(name_of: Callable[[int], str]) -> None:
    names = [name_of(number) for number in range(200)]
    found = grouping.groups(names, [])
    assert set(found) == set(names)
    assert 1 <= len(set(found.values())) <= grouping.MOST_NODES
    assert found == grouping.groups(list(reversed(names)), [])
    for name, group in found.items():
        assert name == group or name.startswith(group.removesuffix("*"))


def test_groups_are_coarser_where_there_would_be_too_many_edges() -> None:
    names = [f"svc-{number:03}" for number in range(200)]
    few = {(names[0], names[number]) for number in range(200)}
    assert len(set(grouping.groups(names, few).values())) == 20
    many = {(names[a], names[(a * 7 + b * 13) % 200]) for a in range(200) for b in range(10)}
    found = grouping.groups(names, many)
    edges = {(found[source], found[target]) for source, target in many}
    assert len(edges) <= grouping.MOST_EDGES


def test_a_group_that_is_opened_shows_its_services_and_the_others_make_room() -> None:
    teams = ("billing", "doc", "mail", "scraper", "user")
    names = [f"{team}-{number}" for team in teams for number in range(12)]
    assert set(grouping.groups(names, []).values()) == {f"{team}-*" for team in teams}
    opened = grouping.groups(names, [], "user-")
    alone = {name for name, group in opened.items() if name == group}
    assert alone == {f"user-{number}" for number in range(12)}
    assert opened["doc-3"] == "doc-*"


def test_flows_of_groups_are_one_edge_between_two_of_them() -> None:
    drawn_as = {"a-1": "a-*", "a-2": "a-*", "b": "b"}
    flows = [
        Flow(Key(source, "b", kind), "command", "LOW", deliveries(10, failures), rate=2.0)
        for source, kind, failures in (("a-1", "x", 0), ("a-1", "y", 0), ("a-2", "x", 5))
    ]
    (edge,) = mapped.edges(flows, drawn_as, NOW)
    assert edge.name == "a-*|b|"
    assert edge.title == "3 flows"
    assert (edge.total.state, edge.share, edge.total.rate) == ("failing", "17 %", 6.0)
