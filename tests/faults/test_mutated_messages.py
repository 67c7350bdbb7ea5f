"""Thousands of messages changed at random, to a worker that runs: it lives, and none is lost."""

import pytest

from messaging import codec
from messaging.errors import DecodeError
from messaging.wire import WireMessage, task_headers
from tests.support.installation import Installation
from tests.support.mutations import mutated
from tests.support.waiting import eventually
from tests.unit.test_codec import an_envelope

COUNT = 600


@pytest.mark.slow
@pytest.mark.parametrize("keys", ["", f"k:{'s' * 40}"], ids=["plain", "signed"])
def test_a_worker_lives_and_what_it_cannot_read_is_on_record(
    installation: Installation, keys: str
) -> None:
    installation.settings["signing_keys"] = keys
    installation.start_worker("probe")
    bus = installation.communicator().bus
    envelope = an_envelope(
        type="work", kind="command", source="tester", target="probe", custodian=None, attempt=1
    )
    body = codec.encode(envelope, None, bus.keyring)
    bodies = [mutated(body, seed) for seed in range(COUNT)]
    headers = task_headers(envelope)
    queue = bus.topology.queue_name("probe")
    with bus.connection() as connection:
        channel = connection.channel()
        for each in bodies:
            message = WireMessage("", headers, {"delivery_mode": 2}, priority=0)
            prepared = channel.prepare_message(
                each,
                content_type="application/json",
                content_encoding="binary",
                headers=message.headers,
                properties=message.properties,
            )
            channel.basic_publish(prepared, exchange="", routing_key=queue)

    sender = installation.communicator()
    last = sender.send_to_service("probe", "work", {}, priority="LOW")
    journal = installation.journal("probe")
    eventually(lambda: journal.lines(event="handled", id=last), 120, "all have had their turn")
    database = installation.database()

    def count_parked() -> int:
        query = "SELECT count(*) FROM messaging_outboxmessage WHERE type = 'bus.dead_letter'"
        return int(database.execute(query).fetchone()[0])

    unreadable = {each for each in bodies if not _is_read(each)}
    assert len(unreadable) > COUNT / 10
    eventually(lambda: count_parked() >= len(unreadable), 60, "all of them are parked")
    assert sender.request("probe", "echo", "on", timeout=10) == "on"


def _is_read(body: bytes) -> bool:
    try:
        codec.decode(body)
    except DecodeError:
        return False
    return True
