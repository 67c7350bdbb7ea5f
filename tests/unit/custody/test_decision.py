"""When a message goes out again, rule by rule."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from messaging.custody.decision import Progress, decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def verdict(**changes: Any) -> Any:
    """Decide about a message published once, 60 s ago, to a silent target with an empty queue."""
    values = {
        "first_published_at": ago(60),
        "published_at": ago(60),
        "publishes": 1,
        "progress": Progress(),
        "is_down": False,
        "queue_length": lambda: 0,
        "receipt_seconds": 30.0,
        "now": NOW,
    }
    return decide(**{**values, **changes})


def test_a_silent_target_with_an_empty_queue_gets_it_again() -> None:
    assert verdict().publishes


def test_what_the_broker_lost_goes_out_whatever_else() -> None:
    assert verdict(first_published_at=None, is_down=True).publishes


@pytest.mark.parametrize(
    "changes",
    [
        {"is_down": True},
        {"progress": Progress(told_at=ago(10))},
        {"queue_length": lambda: 5},
        {"queue_length": lambda: 5, "progress": Progress(told_at=ago(300))},
    ],
    ids=["down", "tells", "waits in the queue", "slow"],
)
def test_a_sign_that_it_is_on_its_way_puts_it_off(changes: dict[str, Any]) -> None:
    found = verdict(**changes)
    assert not found.publishes
    assert found.look_seconds == (600.0 if "is_down" in changes else 30.0)


def test_overtaken_by_what_was_sent_clearly_later_it_is_lost() -> None:
    told = {"told_at": ago(1), "accepted_published_at": ago(29)}
    assert verdict(progress=Progress(**told), queue_length=lambda: 5).publishes


def test_a_queue_that_stands_still_is_believed_for_twenty_timeouts() -> None:
    old = {"first_published_at": ago(700), "published_at": ago(700)}
    assert verdict(queue_length=lambda: 5, **old).publishes
    assert not verdict(queue_length=lambda: 5, publishes=2, **old).publishes


def test_pauses_double_up_to_twenty_timeouts() -> None:
    pauses = [verdict(publishes=n).look_seconds for n in (1, 2, 3, 10, 1000)]
    assert pauses == [30.0, 60.0, 120.0, 600.0, 600.0]
