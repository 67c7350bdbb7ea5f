"""What is kept back for a target that is down, and in which order it goes out again."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext

from messaging import MessagePriority, MessagingConfig, ServiceCommunicator
from messaging.custody import due, held, operating, outbox
from messaging.custody.control import apply_receipts
from messaging.custody.outbox import Key
from messaging.custody.receipts import Entry, Receipt
from messaging.custody.relay import Relay
from messaging.custody.targets import Targets
from messaging.envelope import Envelope, utc_now
from messaging.models import OutboxMessage
from tests.unit.custody.test_outbox import a_command, received

pytestmark = pytest.mark.django_db(transaction=True)


class Registry:
    """Knows who is down, and counts how often it is asked."""

    def __init__(self) -> None:
        self.down = {"b"}
        self.asked = 0

    def is_down(self, service: str) -> bool:
        self.asked += 1
        return service in self.down


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sender(tmp_path: Path, registry: Registry, clock: Clock) -> Iterator[ServiceCommunicator]:
    config = MessagingConfig(broker_url=f"sqlite:///{tmp_path}/broker.sqlite3")
    communicator = ServiceCommunicator("gateway", config=config)
    communicator.bus.is_down = registry.is_down
    communicator.bus.clock = clock
    yield communicator
    communicator.close()


@pytest.fixture
def published(sender: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids in the order in which they went over the wire."""
    ids: list[str] = []
    publish_all = sender.bus.publish_all

    def note(copies):
        ids.extend(copy.envelope.id for copy in copies)
        return publish_all(copies)

    monkeypatch.setattr(sender.bus, "publish_all", note)
    return ids


def hold(*envelopes: Envelope) -> None:
    for envelope in envelopes:
        outbox.store(envelope, under_custody=True, held=True, delay_seconds=held.HOLD_SECONDS)


def row(message_id: str) -> OutboxMessage:
    return OutboxMessage.objects.get(message_id=message_id)


def publish(sender: ServiceCommunicator, registry: Registry, *, number: int) -> None:
    """Send to a service that serves, by way of the broker."""
    registry.down.clear()
    for _ in range(number):
        sender.send_to_service("b", "work", {}, priority="CRITICAL")
    assert sender.bus.dispatch.flush()
    assert OutboxMessage.objects.filter(state="published").count() == number


def fall_due(seconds_ago: float = 0.0) -> None:
    OutboxMessage.objects.update(due_at=utc_now() - timedelta(seconds=seconds_ago))


def test_custody_for_a_target_that_is_down_stays_in_the_database(
    sender: ServiceCommunicator,
) -> None:
    kept = sender.send_to_service("b", "work", {}, priority="CRITICAL")
    kept_too = sender.send_to_service("b", "work", {}, durable=True)
    sender.send_to_service("b", "work", {"not": "under custody"})
    elsewhere = sender.send_to_service("c", "work", {}, priority="CRITICAL")
    assert sender.bus.dispatch.flush()
    assert [envelope.data for envelope in received(sender, "b")] == [{"not": "under custody"}]
    assert row(elsewhere).state == "published"
    for message_id in (kept, kept_too):
        waiting = row(message_id)
        assert (waiting.state, waiting.publishes) == ("pending", 0)
        assert waiting.last_error == "held: b is down"
        assert waiting.held_at is not None
        assert waiting.due_at == waiting.held_at + timedelta(seconds=held.HOLD_SECONDS)
    assert held.targets() == ["b"]


def test_the_registry_is_asked_once_a_second_for_each_target(
    sender: ServiceCommunicator, registry: Registry, clock: Clock
) -> None:
    for _ in range(20):
        sender.send_to_service("b", "work", {}, priority="CRITICAL")
    hold(a_command(target="b"))
    (due_message,) = due.claim_due(utc_now() + timedelta(seconds=700), limit=1)
    Targets(sender.bus).decide(due_message, utc_now())
    assert registry.asked == 1
    clock.sleep(1.1)
    registry.down.clear()
    sender.send_to_service("b", "work", {}, priority="CRITICAL")
    assert registry.asked == 2
    assert OutboxMessage.objects.filter(held_at=None).count() == 1


def test_nothing_is_held_for_the_gateway_itself(
    sender: ServiceCommunicator, registry: Registry
) -> None:
    registry.down.add("api-gateway")
    sender.broadcast("it.happened", {}, priority="CRITICAL")
    sender.send_to_service("api-gateway", "work", {}, priority="CRITICAL")
    assert held.targets() == []


def test_who_sends_from_an_event_loop_has_it_held_as_well(
    sender: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(service: str) -> bool:
        return not OutboxMessage.objects.filter(target=service).exists()  # a query, as in life

    sender.bus.is_down = ask

    async def send() -> None:
        sender.send_to_service("b", "work", {}, priority="CRITICAL")

    asyncio.run(send())
    assert held.targets() == ["b"]


def test_a_relay_holds_what_falls_due_for_a_target_that_is_down(
    sender: ServiceCommunicator, registry: Registry
) -> None:
    """Delayed, or claimed again after ten minutes that nobody let it out in."""
    later = sender.send_to_service("b", "work", {}, priority="CRITICAL", delay=60)
    hold(a_command(id="long", target="b"))
    since = utc_now() - timedelta(seconds=1200)
    OutboxMessage.objects.filter(message_id="long").update(held_at=since)
    fall_due()
    relay = Relay(sender.bus, "gateway")
    relay.work()
    assert row(later).held_at is not None
    assert row("long").held_at == since
    for message_id, seconds in ((later, 600), ("long", 1200)):  # again as long as it has been
        due_at = row(message_id).due_at
        assert due_at is not None
        assert seconds - 10 < (due_at - utc_now()).total_seconds() < seconds + 10
    assert received(sender, "b") == []
    registry.down.clear()
    fall_due()
    relay.work()
    assert [row(each).state for each in (later, "long")] == ["published", "published"]
    assert held.targets() == []
    assert len(received(sender, "b")) == 2


def test_what_is_published_already_is_put_off_together_while_its_target_is_down(
    sender: ServiceCommunicator,
    registry: Registry,
    published: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thousands of them, each looked at every 30 s in a transaction of its own, are all it did."""
    put_off = []
    postpone = outbox.postpone

    def note(keys, due_at, error="", *, refused):
        if keys:
            put_off.append(len(keys))
        postpone(keys, due_at, error, refused=refused)

    publish(sender, registry, number=5)
    registry.down = {"b"}
    fall_due()
    monkeypatch.setattr(outbox, "postpone", note)
    Relay(sender.bus, "gateway").work()
    assert put_off == [5]
    assert len(published) == 5
    for each in OutboxMessage.objects.all():
        assert (each.state, each.held_at) == ("published", None)
        assert each.due_at is not None
        assert 590 < (each.due_at - utc_now()).total_seconds() <= 600


def test_what_the_broker_has_lost_is_held_while_its_target_is_down(
    sender: ServiceCommunicator, registry: Registry, published: list[str]
) -> None:
    publish(sender, registry, number=2)
    registry.down = {"b"}
    outbox.all_lost_by_the_broker()
    relay = Relay(sender.bus, "gateway")
    relay.work()
    assert len(published) == 2
    assert {(each.state, each.publishes) for each in OutboxMessage.objects.all()} == {
        ("pending", 1)
    }
    assert held.targets() == ["b"]
    registry.down.clear()
    assert held.let_out("b", 100, utc_now()) == 2
    relay.work()
    assert len(published) == 4
    assert held.targets() == []


def test_what_is_published_while_a_relay_looks_at_it_is_not_held() -> None:
    outbox.store(a_command(id="m", target="b", generation=0), under_custody=True)
    claimed = due.claim_due(utc_now())
    outbox.mark_published([outbox.Published(Key("m", "b", 0), "", 30)])
    held.hold(claimed, utc_now())
    assert (row("m").state, row("m").held_at) == ("published", None)


def test_what_is_let_out_as_its_target_returns_is_not_held_again(
    sender: ServiceCommunicator, registry: Registry
) -> None:
    """The process that publishes it had asked a moment before."""
    kept = sender.send_to_service("b", "work", {}, priority="CRITICAL")
    registry.down.clear()
    held.let_out("b", 100, utc_now())
    Relay(sender.bus, "gateway").work()
    assert row(kept).state == "published"


def test_a_relay_without_a_registry_lets_one_that_has_it_go_first(
    sender: ServiceCommunicator,
) -> None:
    sender.bus.is_down = None
    hold(a_command(id="m", target="b"))
    fall_due()
    relay = Relay(sender.bus, "service")
    # Nor does it look again and again at once, for all of that time.
    assert relay._turn() >= sender.bus.config.relay_tick_seconds / 2
    assert row("m").state == "pending"
    fall_due(due.PRECEDENCE_SECONDS)
    relay._turn()
    assert row("m").state == "published"


def test_it_goes_out_by_urgency_then_age_batch_by_batch(
    sender: ServiceCommunicator, registry: Registry, published: list[str]
) -> None:
    names = ("LOW", "CRITICAL", "NORMAL", "HIGH")
    hold(
        *(
            a_command(id=f"{name}-{number}", target="b", priority=MessagePriority(name))
            for number in range(3)
            for name in names
        )
    )
    hold(a_command(id="other", target="c"))
    registry.down.clear()
    wanted = [f"{name}-{n}" for name in ("CRITICAL", "HIGH", "NORMAL", "LOW") for n in range(3)]
    relay = Relay(sender.bus, "gateway")
    now = utc_now()
    assert held.let_out("b", 4, now - timedelta(seconds=1)) == 4
    relay.work()
    assert published == wanted[:4]
    # Two batches before a relay looks, and one that takes one batch at a time.
    assert held.let_out("b", 2, now - timedelta(seconds=0.9)) == 2
    assert held.let_out("b", 100, now - timedelta(seconds=0.8)) == 6
    assert [each.key.message_id for each in due.claim_due(now, limit=2)] == wanted[4:6]
    relay.work()
    assert published == wanted[:4] + wanted[6:]
    assert held.let_out("b", 100, now) == 0
    assert held.targets() == ["c"]


def test_many_are_let_out_in_short_transactions_and_stay_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SQLite writes each row with its body: one transaction kept everybody out for seconds."""
    names = ("LOW", "CRITICAL", "NORMAL")
    hold(
        *(
            a_command(id=f"{name}-{number}", target="b", priority=MessagePriority(name))
            for number in range(3)
            for name in names
        )
    )
    monkeypatch.setattr(held, "LET_OUT_AT_ONCE", 2)
    now = utc_now()
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert held.let_out("b", 7, now) == 7
    said = [each["sql"].split(" ")[0] for each in captured.captured_queries]
    assert [each for each in said if each != "PRAGMA"] == ["BEGIN", "UPDATE", "COMMIT"] * 4
    assert OutboxMessage.objects.filter(due_at=now, held_at=None).count() == 7
    wanted = [f"{name}-{n}" for name in ("CRITICAL", "NORMAL", "LOW") for n in range(3)]
    assert [each.key.message_id for each in due.claim_due(now)] == wanted[:7]
    assert held.let_out("b", 100, now) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda keys: held.hold(due.claim_due(utc_now()), utc_now()),
        lambda keys: outbox.postpone(keys, utc_now(), refused=False),
        lambda keys: apply_receipts(
            Receipt("b", (Entry(key.message_id, 0, "handled"),)) for key in keys
        ),
        lambda keys: outbox.mark_published(outbox.Published(key, "", 30) for key in keys),
    ],
    ids=["hold", "postpone", "receipts", "marks"],
)
def test_who_changes_several_rows_takes_them_by_key(change: Callable[[list[Key]], object]) -> None:
    """Where rows are locked one by one, two that take them in other orders block each other."""
    keys = [Key(name, "b", 0) for name in ("m2", "m3", "m1")]
    for key in keys:
        outbox.store(a_command(id=key.message_id, generation=0), under_custody=True)
    names = {each.pk: each.message_id for each in OutboxMessage.objects.all()}
    taken = []

    def note(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and "LIMIT" not in sql:
            values = list(params.values() if isinstance(params, dict) else params)
            found = [each for each in values if each in names.values()]
            taken.append(found[0] if found else names[params["row_id"]])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        change(keys)
    assert taken == ["m1", "m2", "m3"]


@pytest.mark.parametrize(
    "end",
    [
        lambda key: outbox.settle(key, "handled"),
        outbox.accepted,
        lambda key: operating.resolve(Q(message_id=key.message_id), "gone"),
        lambda key: outbox.mark_published([outbox.Published(key, "", 30)]),
    ],
)
def test_what_has_gone_its_way_is_not_held(end: Callable[[Key], object]) -> None:
    hold(a_command(id="m", target="b", generation=0))
    end(Key("m", "b", 0))
    assert held.targets() == []


def test_letting_out_reads_what_it_lets_out_and_no_more() -> None:
    """However much is held: the index has it in this order."""
    if connection.vendor != "sqlite":
        pytest.skip("the plan is SQLite's")
    for statement in (held._LET_OUT, held._NEXT_TARGET):
        with connection.cursor() as cursor:
            cursor.execute(
                f"EXPLAIN QUERY PLAN {statement.text}", {"target": "b", "limit": 1, "now": "x"}
            )
            plan = " ".join(line[3] for line in cursor.fetchall())
        assert "messaging_outbox_held" in plan
        assert "SCAN" not in plan
        assert "TEMP B-TREE" not in plan


def test_of_one_key_only_the_first_is_ever_published(
    sender: ServiceCommunicator, published: list[str]
) -> None:
    """Two that send at once with other data must not have either of them handled."""
    first, second = (
        sender.send_to_service("c", "work", {"amount": amount}, durable=True, dedup_key="order-7")
        for amount in (1, 2)
    )
    assert first == second
    assert sender.bus.dispatch.flush()
    assert [envelope.data for envelope in received(sender, "c")] == [{"amount": 1}]
    known = outbox.find(first)
    assert known is not None
    assert (known.target, known.state) == ("c", "published")
    assert '"amount":1' in known.body.replace(" ", "")
    assert outbox.find("nobody") is None
