import pytest

from messaging import MessagePriority
from tests.support.installation import Installation
from tests.support.waiting import eventually


@pytest.mark.promise("`kill -9` of a worker loses no message it held")
def test_kill_9_in_the_middle_of_500_messages_loses_none(
    installation: Installation,
) -> None:
    sender = installation.communicator()
    for number in range(500):
        data = {"n": number, "seconds": 0.01}
        sender.send_to_service("killed", "work", data, priority=MessagePriority.NORMAL)
    first = installation.start_worker("killed")
    journal = installation.journal("killed")
    eventually(lambda: len(journal.lines(event="handled")) >= 100)
    first.kill()
    handled_by_first = len(journal.lines(event="handled"))
    assert handled_by_first < 500, "the worker was done before it was killed"

    installation.start_worker("killed")

    def handled() -> set[int]:
        return {line["data"]["n"] for line in journal.lines(event="handled")}

    eventually(lambda: len(handled()) == 500, 40, "all 500 handled")


@pytest.mark.promise("another worker has what a killed one held")
def test_what_a_killed_worker_held_is_handled_by_another_one(
    installation: Installation,
) -> None:
    holder = installation.start_worker("holder", concurrency=2)
    journal = installation.journal("holder")
    sender = installation.communicator()
    for number in range(2):
        sender.send_to_service("holder", "work", {"n": number, "seconds": 600})
    eventually(lambda: len(journal.lines(event="begun")) == 2)
    other = installation.start_worker("holder", concurrency=2)
    holder.kill()

    def begun_by_other() -> int:
        return len(journal.lines(event="begun", pid=other.pid))

    eventually(lambda: begun_by_other() == 2, installation.features.recovery_seconds)
    other.kill()
