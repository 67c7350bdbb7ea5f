"""How much is let out for a service that is back, and what the gateway holds."""

from datetime import timedelta

import pytest

from gateway_app import held, replays
from gateway_app.bus import communicator
from messaging import MessageBus, recorded
from messaging.custody import outbox
from messaging.envelope import MessageKind, MessagePriority, utc_now
from messaging.models import OutboxMessage
from tests.gateway_app.test_replays import park
from tests.unit.test_codec import an_envelope

pytestmark = pytest.mark.django_db

NOW = utc_now()


@pytest.fixture
def down(own_broker: MessageBus) -> set[str]:
    names = {"b"}
    own_broker.is_down = names.__contains__
    return names


@pytest.mark.parametrize(
    ("seconds_ago", "size"),
    [
        *((0, 100), (4.9, 100), (5, 200), (14, 400), (30, 5000), (1e9, 5000)),
        # Another host's clock may be ahead; one that was set back tells nothing.
        *((-4, 100), (-3600, 5000)),
    ],
)
def test_batches_double_with_every_heartbeat(seconds_ago: float, size: int) -> None:
    returned_at = NOW - timedelta(seconds=seconds_ago)
    assert held.batch_size(100, 5.0, returned_at, NOW) == size


def test_of_two_batches_none_goes_twice_and_no_other_services_goes_with_them() -> None:
    for number in range(130):
        envelope = an_envelope(
            id=f"m{number}", kind=MessageKind.COMMAND, target="bc"[number % 10 // 9]
        )
        outbox.store(envelope, under_custody=True, held=True, delay_seconds=600)
    assert held.waiting_services() == ["b", "c"]
    assert [held.let_out("b", NOW, NOW) for _ in range(3)] == [100, 17, 0]
    due = OutboxMessage.objects.filter(due_at=NOW, held_at=None, last_error="")
    assert due.filter(target="b").count() == due.count() == 117
    assert held.waiting_services() == ["c"]
    assert held.let_out("c", None, NOW) == 13
    assert held.waiting_services() == []


def test_copies_of_a_broadcast_and_replays_wait_for_who_is_down(
    down: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(communicator, "subscribers_of", lambda _type: ["b", "c"])
    event = an_envelope(
        id="event",
        kind=MessageKind.EVENT,
        target="",
        priority=MessagePriority.CRITICAL,
        custodian="a",
    )
    assert recorded.make_copies(communicator, event) == 2
    assert replays.replay(park(), actor="ada")
    waiting = OutboxMessage.objects.filter(held_at__isnull=False).values_list(
        "message_id", "target"
    )
    assert set(waiting) == {("event", "b"), ("m0", "b")}
    assert OutboxMessage.objects.get(target="c").held_at is None
