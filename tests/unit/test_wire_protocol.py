"""docs/wire_protocol.md says what goes over the wire: its examples are read and written again."""

import base64
import hmac
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Queue
from kombu.transport.base import to_rabbitmq_queue_arguments

from gateway_app.flow.rows import said_by
from gateway_app.registry.registrations import Heartbeat, Registration
from messaging import MessageBus, MessagingConfig, codec
from messaging.batches import Copy
from messaging.brokers import PROFILES
from messaging.compose import id_of
from messaging.custody import receipts
from messaging.deadletter import DeadLetter, DeadLetterReason
from messaging.envelope import MessageKind, MessagePriority
from messaging.envelope_fields import READERS, REQUIRED
from messaging.histogram import LARGEST, SMALLEST, bucket_of
from messaging.parking import dead_letter_key
from messaging.publisher import Addressed
from messaging.registration import DEAD_LETTER, PERISHABLE, Identity
from messaging.routes import Route
from messaging.signing import MESSAGE, NO_KEYS, Keyring
from messaging.wire import CONTENT_ENCODING, CONTENT_TYPE
from tests.support.brokers import BROKERS, require
from tests.support.installation import ROOT

PAGE = (ROOT / "docs/wire_protocol.md").read_text()
BLOCKS = {
    name: json.loads(text) for name, text in re.findall(r"```json ([\w-]+)\n(.*?)```", PAGE, re.S)
}
SETTINGS = {"broker_url": "amqp://broker//"}
BUS = MessageBus(MessagingConfig.from_mapping(SETTINGS))
#: Of the embedded broker; others ignore them.
ITS_OWN = {"handover", "durability"}


def test_every_example_is_read_here() -> None:
    text = Path(__file__).read_text()
    assert len(BLOCKS) == PAGE.count("```json ")
    assert [name for name in BLOCKS if f'"{name}"' not in text] == []


@pytest.mark.parametrize("name", ["command", "event", "request", "reply", "custody"])
def test_a_message_looks_like_that(name: str) -> None:
    block = BLOCKS[name]
    envelope = codec.decode(json.dumps(block["body"]))
    body = codec.encode(envelope, None)
    assert json.loads(body) == block["body"]
    publishes = block["headers"].get("publishes", 0)
    is_round_trip = envelope.kind in (MessageKind.REQUEST, MessageKind.REPLY)
    if envelope.kind is MessageKind.REQUEST:
        address = BUS.round_trips._addressed(envelope)
    elif envelope.kind is MessageKind.REPLY:
        asked = codec.decode(json.dumps(BLOCKS["request"]["body"]))
        assert envelope.causation_id == asked.id
        message = BUS.wire(envelope, expires=True)
        address = Addressed(message, "", str(asked.reply_to), mandatory=True)
    else:
        address = BUS.addressed(Copy(envelope, body, None, publishes))
    assert (block["exchange"], block["routing_key"]) == (address.exchange, address.routing_key)
    assert block["mandatory"] == address.mandatory
    assert is_round_trip == ("expiration" in block["properties"])
    assert block["properties"] == {
        "content_type": CONTENT_TYPE,
        "content_encoding": CONTENT_ENCODING,
        "priority": address.message.priority,
        **{name: v for name, v in address.message.properties.items() if name not in ITS_OWN},
    }
    when = {"sent_at": block["headers"]["sent_at"]} if publishes else {}
    assert block["headers"] == {**address.message.headers, **when}


def test_queues_have_these_arguments() -> None:
    def described(queue: Queue) -> dict[str, Any]:
        options = {"expires": queue.expires, "max_priority": queue.max_priority}
        arguments = to_rabbitmq_queue_arguments(dict(queue.queue_arguments or {}), **options)
        return {
            "name": queue.name,
            "durable": queue.durable,
            "exclusive": queue.exclusive,
            "auto_delete": queue.auto_delete,
            "arguments": arguments,
        }

    topology = BUS.topology
    reply_name = topology.reply_queue_name("shop", "5f0c")
    quorum = MessageBus(MessagingConfig.from_mapping({**SETTINGS, "rabbitmq_queues": "quorum"}))
    assert BLOCKS["queues"] == {
        "work": described(topology.worker_queue("billing", [])),
        "custody": described(topology.custody_queue("billing")),
        "reply": described(topology.reply_queue(reply_name)),
        "work, with rabbitmq_queues=quorum": described(quorum.topology.service_queue("billing")),
    }
    spaced = MessageBus(MessagingConfig.from_mapping({**SETTINGS, "namespace": "blue"})).topology
    names = {"bus.events": spaced.events_exchange, "bus.services": spaced.services_exchange}
    for name, exchange in names.items():
        assert exchange.name == f"blue.{name}"
        assert exchange.durable
        assert f"`{name}`, {exchange.type}" in PAGE


def test_priorities_and_reasons_are_these() -> None:
    rows = dict(re.findall(r"^\| (LOW|NORMAL|HIGH|CRITICAL) \| (\d+ \| \d+) \|$", PAGE, re.M))
    assert rows == {
        each.value: f"{PROFILES['amqp'].priorities[each]} | {PROFILES['redis'].priorities[each]}"
        for each in MessagePriority
    }
    (listed,) = re.findall(r"^Reasons: (.*)\.$", PAGE, re.M)
    assert re.findall(r"`(\w+)`", listed) == [reason.value for reason in DeadLetterReason]
    for name in PERISHABLE:
        if name.startswith("service."):
            assert f"`{name}`" in PAGE


def test_an_envelope_has_these_fields() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (yes|no|) ?\|", PAGE, re.M)
    assert {name for name, _ in rows} == set(READERS)
    assert {name for name, is_required in rows if is_required == "yes"} == REQUIRED | {"version"}


def test_a_signature_is_made_like_that() -> None:
    block = BLOCKS["signature"]
    key_id, _, secret = block["key"].partition(":")
    text = block["text"].encode()
    digest = hmac.digest(secret.encode(), text, "sha256").hex()
    envelope = block["envelope"]
    assert envelope["signature"] == f"{key_id}:{digest}"
    keyring = Keyring.parse(block["key"], "api-gateway")
    keyring.check(MESSAGE, envelope, envelope["signature"], envelope["source"])


def test_receipts_and_questions_are_read_as_they_are_written() -> None:
    for name, task in (("receipt", receipts.RECEIPT), ("question", receipts.ASK)):
        block = BLOCKS[name]
        said = receipts.read(task, json.dumps(block["body"]), NO_KEYS)
        if isinstance(said, receipts.Receipt):
            written = receipts.receipt_message(said.service, said.entries, NO_KEYS)
        else:
            written = receipts.ask_message(said.custodian, said.about, NO_KEYS)
        assert json.loads(written.body) == block["body"]
        assert block["headers"] == {**written.headers, "id": block["headers"]["id"]}
        assert block["properties"] == {"priority": written.priority, **written.properties}


def test_what_services_tell_the_gateway_is_read_by_it() -> None:
    identity = Identity(name="billing", version="1.0.0", routes=[Route(path="/api/x")])
    said = identity.to_json(["invoice.create"], ["invoice.create", "order.#"], {})
    registration = BLOCKS["registration"]
    assert set(registration) == set(said)
    assert set(registration["routes"][0]) >= set(said["routes"][0])
    assert Registration.from_json(registration).subscriptions == {"invoice.create", "order.#"}
    heartbeat = BLOCKS["heartbeat"]
    assert Heartbeat.from_json(heartbeat).name == "billing"
    assert set(identity.where_to_json()) < set(heartbeat)
    (row,) = said_by("billing", heartbeat["flow"])
    assert (row.edge.source, row.deliveries.count, row.deliveries.failures) == ("shop", 2, 1)
    for seconds in (1e-4, 0.003, 0.05, 1.0, 7.0):
        mantissa, exponent = math.frexp(seconds)
        assert bucket_of(seconds) == max(-48, 4 * exponent + math.floor(8 * mantissa) - 4)
    assert f"from {SMALLEST} to {LARGEST}" in PAGE
    letter = BLOCKS["dead-letter"]
    assert DeadLetter.from_json(letter).to_json() == letter
    key = dead_letter_key(letter["message_id"], letter["service"], 0)
    assert f"`{dead_letter_key('<id>', '<service>', 0)}`" in PAGE
    assert f"`{id_of('billing', key)}`" in PAGE
    assert f"`{DEAD_LETTER}`" in PAGE


def test_on_redis_a_message_lies_like_that() -> None:
    require(BROKERS["redis"])
    settings = {"broker_url": BROKERS["redis"].url, "namespace": "wire-page"}
    bus = MessageBus(MessagingConfig.from_mapping(settings))
    body = BLOCKS["command"]["body"]
    envelope = codec.decode(json.dumps(body))
    block = BLOCKS["redis"]
    try:
        bus.publish(envelope)
        with Connection(BROKERS["redis"].url) as connection:
            client = connection.channel().client
            (raw,) = client.lrange(block["key"].encode(), 0, -1)
            client.delete(block["key"].encode())
    finally:
        bus.close()
    found = json.loads(raw)
    assert json.loads(base64.b64decode(found.pop("body"))) == body
    assert block["value"].pop("body") == "…"
    block["value"]["properties"]["delivery_tag"] = found["properties"]["delivery_tag"]
    assert found == block["value"]
