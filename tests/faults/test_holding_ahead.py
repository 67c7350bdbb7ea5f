"""Messages that a worker with fast handlers holds ahead, when a slow one comes."""

from typing import Any

from tests.support.installation import Installation
from tests.support.waiting import eventually


def test_what_waits_behind_a_slow_message_goes_in_order_to_a_worker_that_is_idle(
    installation: Installation,
) -> None:
    # Else Redis hands the slow message to the idle worker as well.
    installation.settings["redis_visibility_timeout_seconds"] = 60
    busy = installation.start_worker("held", concurrency=1)
    journal = installation.journal("held")
    sender = installation.communicator()

    def send(**data: Any) -> str:
        return sender.send_to_service("held", "work", data)

    for number in range(200):
        send(warm=number)
    eventually(lambda: len(journal.lines(event="handled")) == 200)
    slow = send(seconds=30)
    eventually(lambda: any(line["id"] == slow for line in journal.lines(event="begun")))
    waiting = [send(n=number) for number in range(10)]

    idle = installation.start_worker("held", concurrency=1)
    eventually(lambda: len(journal.lines(event="handled", pid=idle.pid)) == len(waiting), 15)
    assert [line["id"] for line in journal.lines(event="handled", pid=idle.pid)] == waiting
    assert len(journal.lines(event="handled", pid=busy.pid)) == 200  # the slow one goes on
