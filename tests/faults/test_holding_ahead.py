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


def test_critical_messages_that_have_begun_behind_a_slow_one_do_so_too(
    installation: Installation,
) -> None:
    installation.settings["redis_visibility_timeout_seconds"] = 60
    busy = installation.start_worker("held", concurrency=1)
    journal = installation.journal("held")

    def send(count: int, **slow: Any) -> list[str]:
        messages = [{"n": number} for number in range(count)]
        return installation.send(
            {"target": "held", "type": "work", "priority": "CRITICAL", "data": data}
            for data in [slow, *messages]
        )

    send(200)
    eventually(lambda: len(journal.lines(event="handled")) == 201)
    slow, *waiting = send(10, seconds=30)
    eventually(lambda: any(line["id"] == slow for line in journal.lines(event="begun")))

    idle = installation.start_worker("held", concurrency=1)
    eventually(lambda: len(journal.lines(event="handled", pid=idle.pid)) == len(waiting), 15)
    assert sorted(line["id"] for line in journal.lines(event="begun")).count(waiting[0]) == 1
    assert len(journal.lines(event="handled", pid=busy.pid)) == 201  # the slow one goes on
