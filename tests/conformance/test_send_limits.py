"""What one process may send, and how long a queue may become."""

import pytest

from messaging import QueueFull, TooManyMessages
from tests.conformance.test_bad_messages import parked
from tests.support.installation import Installation
from tests.support.waiting import eventually


def test_what_goes_straight_to_a_full_queue_is_refused_and_what_an_outbox_keeps_is_not(
    installation: Installation,
) -> None:
    installation.settings["max_queue_length"] = 5
    installation.run("python", "manage.py", "migrate")
    sender = installation.communicator()
    for number in range(5):
        sender.send_to_service("slow", "work", {"n": number}, priority="HIGH")
    full = installation.communicator()  # has not looked yet
    with pytest.raises(QueueFull, match="5 messages wait for 'slow' already") as caught:
        full.send_to_service("slow", "work", {"n": 5})
    assert (caught.value.service, caught.value.length) == ("slow", 5)
    full.send_to_service("another", "work")
    (message_id,) = installation.send([{"target": "slow", "type": "work", "priority": "CRITICAL"}])
    installation.start_worker("slow")
    journal = installation.journal("slow")
    eventually(lambda: journal.lines(event="handled", id=message_id))
    eventually(lambda: len(journal.lines(event="handled")) == 6)
    eventually(lambda: _is_sent(full), what="there is room again")


def test_a_command_for_a_full_queue_can_be_parked_for_its_target(
    installation: Installation,
) -> None:
    installation.settings |= {"max_queue_length": 1, "queue_full": "park"}
    first, *others = installation.send(
        [{"target": "slow", "type": "work", "priority": "HIGH"} for _ in range(2)]
    )
    assert others  # within a second of the last look
    (second,) = installation.send([{"target": "slow", "type": "work"}])
    (letter,) = parked(installation)
    assert (letter.message_id, letter.service, letter.reason) == (second, "slow", "rejected")
    assert letter.error == "QueueFull: 2 messages wait for 'slow' already"
    assert first != second


def test_a_loop_without_an_end_is_stopped_by_the_rate_of_its_process(
    installation: Installation,
) -> None:
    sender = installation.communicator(send_rate=20)
    sent = 0

    def send_without_end() -> None:
        nonlocal sent
        for sent in range(1_000):  # noqa: B007 - told to the test
            sender.send_to_service("slow", "work", priority="LOW")

    with pytest.raises(TooManyMessages, match="over the limit of 20 messages a second"):
        send_without_end()
    assert 20 <= sent < 500
    eventually(lambda: _is_sent(sender), what="it may send again")


def _is_sent(sender: object) -> bool:
    try:
        sender.send_to_service("slow", "work", priority="LOW")  # type: ignore[attr-defined]
    except (QueueFull, TooManyMessages):
        return False
    return True
