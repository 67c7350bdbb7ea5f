"""A flood of messages, good and bad: what a worker needs of memory does not grow with it."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from messaging import MessagePriority, codec
from messaging.envelope import utc_now
from messaging.wire import task_headers
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually
from tests.unit.test_codec import an_envelope

#: 80 MB.
COUNT, BYTES = 800, 100_000
#: What the second half may need beyond the first: half of what comes in it.
MOST_MORE_MB = 20.0

Body = Callable[[int], str]


def good(number: int, **changes: object) -> str:
    return codec.encode(
        an_envelope(
            id=f"id-{number}",
            type="work",
            kind="command",
            source="tester",
            target="probe",
            **{"custodian": None, "expires_at": None, "data": "x" * BYTES, **changes},
        ),
        None,
    )


def expired(number: int) -> str:
    return good(number, expires_at=utc_now() - timedelta(days=1))


def bad(number: int) -> str:
    return f"{{{number} nonsense" + "x" * BYTES


@pytest.mark.long
@pytest.mark.embedded_only
@pytest.mark.parametrize("body_of", [good, expired, bad])
def test_what_a_worker_needs_does_not_grow_with_what_it_is_sent(
    installation: Installation, body_of: Body
) -> None:
    sender = installation.communicator()
    bus = sender.bus
    headers = task_headers(an_envelope(kind="command", type="work"))
    sender.send_to_service("probe", "work", {}, priority="HIGH")  # declares the queue
    with bus.connection() as connection:
        channel = connection.channel()
        for number in range(COUNT):
            prepared = channel.prepare_message(
                body_of(number),
                content_type="application/json",
                content_encoding="utf-8",
                headers=headers,
                properties={"delivery_mode": 2},
                priority=bus.topology.priority_number(MessagePriority.NORMAL),
            )
            queue = bus.topology.queue_name("probe")
            channel.basic_publish(prepared, exchange="", routing_key=queue)
    last = sender.send_to_service("probe", "work", {}, priority="LOW")
    worker = installation.start_worker("probe", wait=False)
    halves: dict[bool, list[float]] = {True: [], False: []}

    def is_over() -> bool:
        with bus.publisher() as publisher:
            waiting = publisher.queue_length(bus.topology.queue_name("probe")) or 0
        halves[waiting > COUNT / 2].append(megabytes(worker))
        return bool(installation.journal("probe").lines(event="handled", id=last))

    eventually(is_over, 120, "the flood is over")
    first, second = halves[True], halves[False]
    assert max(second) - max(first) < MOST_MORE_MB


def megabytes(process: Process) -> float:
    """Return the memory that a process has of its own."""
    fields = Path(f"/proc/{process.pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * 4096 / 1e6
