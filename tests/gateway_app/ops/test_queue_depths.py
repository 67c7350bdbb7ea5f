"""The Queues page: what is read, added up and said."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway_app import audit, deploys, registry
from gateway_app.models import (
    FlowOverall,
    FlowSummary,
    HealthRecord,
    QueueDepth,
    QueueLook,
    Service,
    State,
)
from gateway_app.ops import queue_depths
from gateway_app.ops.paced import Reading
from gateway_app.ops.question import Question
from gateway_app.ops.queue_history import ALL, PRIORITIES, Histories, bands, rates, split
from gateway_app.ops.queue_rows import Outlook, Row, pieces, sentence, worst, worst_first
from gateway_app.registry.registrations import Registration
from messaging.envelope import utc_now

pytestmark = pytest.mark.django_db
NOW = utc_now().replace(minute=30, second=10, microsecond=0) - timedelta(hours=1)
UP = (State.UP,)


def look(at: datetime, **waiting: Mapping[str, int] | int) -> None:
    made = QueueLook.objects.create(at=at)
    for service, counts in waiting.items():
        is_split = not isinstance(counts, int)
        QueueDepth.objects.create(
            look=made,
            service=service,
            waiting=counts if isinstance(counts, int) else sum(counts.values()),
            by_priority_json=json.dumps(counts) if is_split else "",
        )


def flowed(at: datetime, count: int, target: str = "a", resolution: str = "minute") -> None:
    sums = {"resolution": resolution, "at": at, "priority": "HIGH", "count": count}
    texts = {"waiting_json": "[]", "handling_json": "[]", "total_json": "[]"}
    FlowOverall.objects.create(**sums, **texts)
    FlowSummary.objects.create(
        **sums, **texts, target=target, source="b", type="x", kind="command"
    )


def minute(back: int) -> datetime:
    return NOW.replace(second=0) - timedelta(minutes=back)


def test_a_point_is_what_waited_when_most_did() -> None:
    look(minute(10), a={"HIGH": 2, "LOW": 1}, b={"CRITICAL": 1})
    look(minute(10) + timedelta(seconds=30), a={"LOW": 1})
    look(minute(9))
    points = Histories().points("", "1h", NOW)
    assert len(points) == 60
    first, second = points[-11], points[-10]
    assert (first.at, first.total, first.last) == (minute(10), 4, 1)
    assert split(first, PRIORITIES) == [1, 2, 0, 1]
    assert (second.total, split(second, PRIORITIES)) == (0, [0, 0, 0, 0])
    assert split(points[-9], PRIORITIES) == [None] * 4
    assert Histories().points("a", "1h", NOW)[-11].total == 3


@pytest.mark.parametrize(("name", "count"), [("1h", 60), ("24h", 240), ("7d", 168)])
def test_no_range_has_more_than_240_points(name: str, count: int) -> None:
    assert len(Histories().points("", name, NOW)) == count


def test_what_the_broker_does_not_split_is_one_band() -> None:
    look(minute(10), a={"HIGH": 2})
    look(minute(9), a=5)
    points = Histories().points("", "1h", NOW)
    assert bands(points) == (ALL,)
    assert [split(points[-place], (ALL,)) for place in (11, 10)] == [[2], [5]]


def test_what_came_is_what_went_and_what_is_left_more_than_before() -> None:
    look(minute(11), a={"HIGH": 10})
    look(minute(10), a={"HIGH": 40})
    look(minute(9), a={"HIGH": 10})
    flowed(minute(10), 60)
    points = Histories().points("a", "1h", NOW)
    found = rates(points, timedelta(minutes=1))
    assert (found[-11].went, found[-11].came) == (1.0, 1.5)
    assert (found[-10].went, found[-10].came) == (0.0, 0.0)
    assert found[-1].went is None  # not added up yet
    assert [each.handled for each in Histories().points("", "1h", NOW)][-11] == 60


def test_hours_are_read_from_what_is_added_up_by_the_hour() -> None:
    hour = NOW.replace(minute=0, second=0) - timedelta(hours=3)
    look(hour, a={"LOW": 7})
    look(hour + timedelta(minutes=59), a={"LOW": 3})
    flowed(hour, 7200, resolution="hour")
    point = Histories().points("a", "7d", NOW)[-4]
    assert (point.total, point.last, point.handled) == (7, 3, 7200)


def test_what_is_settled_is_read_once() -> None:
    for back in range(60):
        look(minute(back), a={"LOW": back})
    histories = Histories()
    before = histories.points("", "1h", NOW)
    QueueDepth.objects.filter(look__at__lt=minute(10)).delete()
    QueueDepth.objects.filter(look__at=minute(0)).update(by_priority_json='{"LOW": 9}')
    after = histories.points("", "1h", NOW)
    assert after[:-1] == before[:-1]
    assert after[-1].total == 9
    with CaptureQueriesContext(connection) as queries:
        histories.points("", "1h", NOW)
    assert len(queries) <= 4


@pytest.mark.parametrize(
    ("row", "outlook"),
    [
        (Row(service="a", waiting=0, went=0.0, grows=0.0), Outlook.EMPTY),
        (Row(service="a", waiting=0, went=1.0, grows=1.0), Outlook.EMPTY),
        (Row(service="a", waiting=5, went=0.0, grows=0.0), Outlook.NEVER),
        (Row(service="a", waiting=5, went=1.0, grows=0.0), Outlook.NEVER),
        (Row(service="a", waiting=5, went=1.0, grows=0.5), Outlook.NEVER),
        (Row(service="a", waiting=5, went=1.0, grows=-0.5), Outlook.SHRINKS),
        (Row(service="a", waiting=5, went=1.0), Outlook.UNKNOWN),
    ],
)
def test_never_is_said_exactly_when_no_more_goes_than_comes_and_something_waits(
    row: Row, outlook: Outlook
) -> None:
    assert row.outlook is outlook
    is_never = row.waiting > 0 and row.came is not None and row.went <= row.came
    assert (row.outlook is Outlook.NEVER) == is_never
    assert row.empty_in_seconds == (10 if outlook is Outlook.SHRINKS else None)


def test_the_worst_is_explained_in_one_sentence() -> None:
    idle = Row(service="idle", waiting=0, states=UP, grows=0.0)
    slow = Row(service="slow", waiting=20, went=0.5, grows=0.1, states=UP)
    long = Row(service="long", waiting=90, went=3.0, grows=-1.5, states=UP, oldest_seconds=9.0)
    dead = Row(service="dead", waiting=1, states=(State.DOWN,), held=4, grows=0.0)
    assert sentence(worst([idle])) == ("Nothing waits.", "Every message is taken as it comes.")
    assert sentence(worst([idle, long]))[1].endswith("handles 3.0 /s: empty in about 1 min.")
    assert sentence(worst([idle, long, slow])) == (
        "slow does not catch up on its own:",
        "its 1 instance handles 0.5 /s, and 0.6 /s arrive. Start more instances, or send less.",
    )
    said = " ".join(sentence(worst([idle, long, slow, dead])))
    assert said.startswith("Nobody takes from the queue of dead: it does not run. 1 message on")
    assert "4 held in the outbox" in said
    assert [row.service for row in worst_first([idle, slow, long])] == ["long", "slow", "idle"]


def test_a_bar_is_split_in_the_order_of_the_chart() -> None:
    row = Row(service="a", waiting=4, by_priority={"LOW": 1, "CRITICAL": 3})
    assert [tuple(each) for each in pieces(row, 8)] == [
        ("CRITICAL", 0.0, 37.5, 3),
        ("LOW", 37.5, 12.5, 1),
    ]
    assert [each.band for each in pieces(Row(service="a", waiting=4), 4)] == [ALL]


def test_a_page_of_an_earlier_instant_shows_what_waited_then() -> None:
    for name in ("a", "b"):
        registration = Registration.from_json({"name": name, "id": name, "version": "1"})
        registry.register(registration, said_at=NOW, now=NOW)
    look(minute(20) - timedelta(seconds=60), a={"HIGH": 10})
    look(minute(20), a={"HIGH": 40})
    flowed(minute(21), 60)
    flowed(minute(22), 60)
    frozen = asked(minute(20), is_frozen=True)
    rows: list[Any] = queue_depths.table(frozen)["rows"]
    assert [row.service for row, _ in rows] == ["a", "b"]
    row = rows[0][0]
    assert (row.waiting, row.went, row.came, row.outlook) == (40, 1.0, 1.5, Outlook.NEVER)
    assert queue_depths.depths(frozen)["points"][-1]["total"] == 40
    chosen = asked(minute(20), is_frozen=True, service="b")
    assert [row.service for row, _ in queue_depths.table(chosen)["rows"]] == ["b"]
    assert queue_depths.depths(chosen)["points"][-1]["total"] == 0


def test_transitions_and_deploys_that_may_have_moved_a_queue_are_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service.objects.create(name="a")
    for ago, previous, state, cause in (
        (5, "", "UP", "registered"),
        (4, "UP", "SUSPECT", "silent for 15 s"),
        (3, "SUSPECT", "DOWN", "silent for 30 s"),
        (2, "DOWN", "UP", "heard again"),
        (1, "UP", "DOWN", "deregistered"),
    ):
        HealthRecord.objects.create(
            service=service, previous_state=previous, state=state, cause=cause, at=minute(ago)
        )
    audit.record(
        "version", actor="registry", service="a", detail="1 → 2", at=NOW - timedelta(minutes=30)
    )
    known = Reading(deploys.between(NOW - timedelta(hours=1), NOW, "", 9), NOW)
    monkeypatch.setattr(queue_depths._deploys, "get", lambda: known)
    markers = queue_depths.depths(asked(NOW))["markers"]
    assert sorted(each.css for each in markers) == ["DOWN", "UP", "deploy"]
    assert [each.at for each in markers] == sorted((each.at for each in markers), reverse=True)
    assert [each.text for each in markers if each.css == "deploy"] == ["a 1 → 2"]
    assert queue_depths.depths(asked(NOW, service="b"))["markers"] == []


def asked(now: datetime, *, is_frozen: bool = False, **parameters: str) -> Question:
    return Question(now, frozenset(), parameters, is_frozen)
