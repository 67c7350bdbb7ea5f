import json
import signal
import subprocess
import sys

import pytest

from messaging import MessagePriority
from tests.support.installation import Installation
from tests.support.waiting import eventually

KILLED_BETWEEN_POP_AND_BACKUP = """
import os, signal, sys
from kombu import Connection, Consumer, Queue
from kombu.transport.redis import QoS

def killed(self, *args):
    os.kill(os.getpid(), signal.SIGKILL)

QoS.append = killed
with Connection(sys.argv[1], transport_options={"global_keyprefix": sys.argv[2]}) as connection:
    with Consumer(connection, [Queue("doomed")], on_message=print):
        connection.drain_events(timeout=10)
"""


@pytest.mark.promise("`kill -9` of a worker loses no message it held")
def test_kill_9_in_the_middle_of_500_messages_loses_what_the_broker_admits_to_and_no_more(
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

    if installation.features.survives_kill:
        eventually(lambda: len(handled()) == 500, 30, "all 500 handled")
        return
    # Redis hands a message out before it has written down that it did: what the killed worker
    # was fetching at that instant, one message at most, may be gone.
    eventually(lambda: len(handled()) >= 499, 40, "all but one handled")


@pytest.mark.promise("`kill -9` of a worker loses no message it held")
def test_redis_loses_the_message_a_worker_is_fetching_when_it_is_killed(
    installation: Installation,
) -> None:
    """The limit that docs/guarantees.md states; it would be good news if this failed one day."""
    if installation.features.survives_kill:
        return
    sender = installation.communicator()
    installation._services.add("doomed")
    sender.send_to_service("doomed", "work", {"n": 1})
    fetching = subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED_BETWEEN_POP_AND_BACKUP,
            installation.url,
            f"{installation.namespace}:",
        ],
        check=False,
    )
    assert fetching.returncode == -signal.SIGKILL

    with sender.bus.connection() as connection:
        client = connection.channel().client
        left = [client.llen(key) for key in client.keys("doomed*")]
        kept = [json.dumps(str(v)) for v in client.hvals("unacked")]
    assert (sum(left), len(kept)) == (0, 0)


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
