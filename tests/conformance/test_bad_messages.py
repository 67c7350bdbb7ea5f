"""Whatever comes: the worker lives, the next message is handled, the bad one is on record."""

import json
import pickle
from typing import Any

import pytest

from messaging import MessagePriority, codec
from messaging.deadletter import DeadLetter
from messaging.registration import DEAD_LETTER
from messaging.wire import task_headers
from tests.support.installation import Installation
from tests.support.waiting import eventually


def a_task(arguments: Any, **headers: Any) -> dict[str, Any]:
    body = arguments if isinstance(arguments, str | bytes) else json.dumps(arguments)
    base = {"lang": "py", "task": codec.TASK_NAME, "id": "an-id", "root_id": None}
    return {"body": body, "headers": {**base, **headers}}


def an_envelope(**changes: Any) -> list[Any]:
    mapping = {
        "id": "01890000-0000-7000-8000-000000000000",
        "type": "work",
        "kind": "command",
        "source": "stranger",
        "target": "probe",
        "priority": "NORMAL",
        "data": {},
        "created_at": "2026-01-01T00:00:00+00:00",
        "correlation_id": "c",
        "version": 1,
        **changes,
    }
    return [[{k: v for k, v in mapping.items() if v is not ...}], {}, {}]


BAD = {
    "not JSON": (a_task("{nonsense"), "invalid"),
    "no bytes of UTF-8": (a_task(b"\xff\xfe\x00"), "invalid"),
    "wrong shape": (a_task([[], {}]), "invalid"),
    "empty arguments": (a_task([[], {}, {}]), "invalid"),
    "a JSON number": (a_task(7), "invalid"),
    "unknown task": (a_task(an_envelope(), task="os.system"), "invalid"),
    "a task of Celery's own": (a_task(an_envelope(), task="celery.backend_cleanup"), "invalid"),
    "no task message": ({"body": "{}", "headers": {}}, "invalid"),
    "protocol 1": ({"body": '{"task": "x", "id": "1"}', "headers": {}}, "invalid"),
    "pickle": (
        {**a_task(pickle.dumps({"x": 1})), "content_type": "application/x-python-serialize"},
        "invalid",
    ),
    "10 MB": (a_task(an_envelope(data="x" * 10_000_000)), "too_large"),
    "unknown version": (a_task(an_envelope(version=99)), "invalid"),
    "missing field": (a_task(an_envelope(type=...)), "invalid"),
    "unknown priority": (a_task(an_envelope(priority="URGENT")), "invalid"),
    "unknown type": (a_task(an_envelope(type="never.heard.of")), "no_handler"),
    "an instant without offset": (a_task(an_envelope(created_at="2026-01-01")), "invalid"),
    "an unknown compression": (a_task(an_envelope(), compression="nonsense"), "invalid"),
    "deeply nested": (a_task("[" * 100_000), "invalid"),
}


def publish_raw(installation: Installation, service: str, message: dict[str, Any]) -> None:
    """Publish bytes as a stranger would, with kombu alone."""
    bus = installation.communicator().bus
    with bus.connection() as connection:
        queue = bus.topology.service_queue(service)
        channel = connection.channel()
        queue(channel).declare()
        prepared = channel.prepare_message(
            message["body"],
            content_type=message.get("content_type", "application/json"),
            content_encoding="binary" if isinstance(message["body"], bytes) else "utf-8",
            headers=message["headers"],
            properties={"delivery_mode": 2},
            priority=bus.topology.priority_number(MessagePriority.NORMAL),
        )
        channel.basic_publish(prepared, exchange="", routing_key=queue.name)


#: Namespaces and ids of dead letters.
_seen: set[tuple[str, str]] = set()


def parked(installation: Installation) -> list[DeadLetter]:
    """Take the new dead letters that wait for the gateway, which does not run here.

    Nobody confirms them, so that custody sends each of them again and again.
    """
    bus = installation.communicator().bus
    letters = []
    with bus.connection() as connection:
        queue = bus.topology.service_queue("api-gateway")(connection.channel())
        queue.declare()
        while (message := queue.get(no_ack=True)) is not None:
            envelope = codec.decode(message.body)
            key = (installation.namespace, envelope.id)
            if envelope.type == DEAD_LETTER and key not in _seen:
                _seen.add(key)
                letters.append(DeadLetter.from_json(envelope.data))
    return letters


@pytest.mark.parametrize("name", BAD)
@pytest.mark.promise("a bad message is parked with its reason; worker and queue go on")
def test_a_bad_message_is_parked_with_its_reason_and_the_next_one_is_handled(
    shared: Installation, name: str
) -> None:
    message, reason = BAD[name]
    parked(shared)
    publish_raw(shared, "probe", message)
    letters: list[DeadLetter] = []
    eventually(lambda: letters.extend(parked(shared)) or letters)

    (letter,) = letters
    assert letter.reason == reason
    assert letter.service == "probe"
    assert letter.error
    if letter.raw_body is not None:
        body = message["body"]
        assert letter.raw_body == (body if isinstance(body, bytes) else body.encode())
    else:
        assert letter.envelope is not None
    assert shared.communicator().request("probe", "echo", name, timeout=10) == name


@pytest.mark.promise("a bad message is parked with its reason; worker and queue go on")
def test_one_that_the_database_does_not_take_is_parked_once_it_does(
    installation: Installation,
) -> None:
    worker = installation.start_worker("probe")
    database = installation.database()
    database.execute(
        "CREATE TRIGGER full BEFORE INSERT ON messaging_outboxmessage "
        "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    publish_raw(installation, "probe", BAD["not JSON"][0])
    refusal = "could not be parked"
    eventually(lambda: worker.log.read_text().count(refusal) > 1, what="a second try")
    database.execute("DROP TRIGGER full")
    letters: list[DeadLetter] = []
    eventually(lambda: letters.extend(parked(installation)) or letters)
    assert [letter.reason for letter in letters] == ["invalid"]
    assert installation.communicator().request("probe", "echo", 1, timeout=10) == 1


@pytest.mark.promise("a bad message is parked with its reason; worker and queue go on")
def test_data_that_does_not_validate_is_parked_at_once_with_the_fields_that_are_wrong(
    shared: Installation,
) -> None:
    parked(shared)
    message_id = shared.communicator().send_to_service("probe", "order", {"note": 1})
    letters: list[DeadLetter] = []
    eventually(lambda: letters.extend(parked(shared)) or letters)
    (letter,) = letters
    assert (letter.message_id, letter.reason, letter.attempts) == (message_id, "invalid", 1)
    assert letter.error.splitlines() == [
        "count: Field required",
        "note: Input should be a valid string",
    ]


@pytest.mark.promise("a bad message is parked with its reason; worker and queue go on")
def test_headers_of_foreign_clients_ask_for_nothing(shared: Installation) -> None:
    """No ETA is waited for, no expiry of Celery's drops a message, no callback is run."""
    envelope = an_envelope(id="01890000-0000-7000-8000-00000000abcd")
    headers = {**task_headers(codec.from_arguments(envelope)), "eta": "2099-01-01T00:00:00"}
    message = a_task(envelope, **{**headers, "expires": "2000-01-01T00:00:00"})
    publish_raw(shared, "probe", message)
    journal = shared.journal("probe")
    eventually(lambda: journal.lines(event="handled", id="01890000-0000-7000-8000-00000000abcd"))
