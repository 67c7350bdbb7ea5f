import json
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from messaging import codec
from messaging.envelope import Envelope, MessageKind, MessagePriority, read_only
from messaging.errors import DecodeError, EncodeError, MessageTooLarge

NOW = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)


def an_envelope(**changes: Any) -> Envelope:
    values: dict[str, Any] = {
        "id": "0195-x",
        "type": "get.user.details",
        "kind": MessageKind.REQUEST,
        "source": "a",
        "target": "b",
        "priority": MessagePriority.HIGH,
        "data": {"userId": 123, "text": "ü"},
        "created_at": NOW,
        "expires_at": NOW + timedelta(seconds=5),
        "correlation_id": "c",
        "causation_id": "d",
        "reply_to": "reply.a.1",
        "attempt": 2,
        "custodian": "a",
        "generation": 1,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "headers": read_only({"tenant": "acme"}),
    }
    return Envelope(**{**values, **changes})


def test_an_envelope_comes_back_as_it_was() -> None:
    envelope = an_envelope()
    assert codec.decode(codec.encode(envelope, 10_000)) == envelope


def test_the_body_is_a_celery_task_with_the_envelope_as_its_only_argument() -> None:
    arguments, keywords, options = json.loads(codec.encode(an_envelope(), None))
    assert [argument["id"] for argument in arguments] == ["0195-x"]
    assert keywords == {}
    assert set(options) == {"callbacks", "errbacks", "chain", "chord"}
    assert not any(options.values())


def test_values_that_django_code_passes_around_get_their_json_form() -> None:
    data = {
        "id": uuid.UUID(int=1),
        "price": Decimal("9.90"),
        "day": date(2026, 3, 1),
        "at": NOW,
        "lasts": timedelta(seconds=1.5),
        "kind": MessageKind.EVENT,
        "tags": {"b", "a"},
    }
    assert codec.decode(codec.encode(an_envelope(data=data), None)).data == {
        "id": "00000000-0000-0000-0000-000000000001",
        "price": "9.90",
        "day": "2026-03-01",
        "at": "2026-03-01T12:30:15.250000+00:00",
        "lasts": 1.5,
        "kind": "event",
        "tags": ["a", "b"],
    }


@pytest.mark.parametrize("data", [object(), {1: {2: object()}}, float("nan"), b"bytes"])
def test_what_json_has_no_form_for_is_not_encoded(data: Any) -> None:
    with pytest.raises(EncodeError, match=r"get\.user\.details"):
        codec.encode(an_envelope(data=data), None)


def test_a_list_that_holds_itself_is_not_encoded() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(EncodeError):
        codec.encode(an_envelope(data=endless), None)


def test_the_limit_counts_bytes_not_characters() -> None:
    envelope = an_envelope(data="ü" * 1000)
    size = len(codec.encode(envelope, None).encode())
    codec.encode(envelope, size)
    with pytest.raises(MessageTooLarge) as caught:
        codec.encode(envelope, size - 1)
    assert (caught.value.size, caught.value.limit) == (size, size - 1)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"version": 2}, "unknown envelope version 2"),
        ({"version": None}, "unknown envelope version None"),
        ({"version": True}, "unknown envelope version True"),
        ({"id": ...}, "'id' is missing"),
        ({"id": 7}, "'id' is not text"),
        ({"id": ""}, "'id' is not text"),
        ({"type": "no spaces"}, "'type' is not a message type"),
        ({"type": "a..b"}, "'type' is not a message type"),
        ({"type": "x" * 300}, "'type' is not a message type"),
        ({"kind": "rpc"}, "not a valid MessageKind"),
        ({"source": "a.b"}, "'source' is not a service name"),
        ({"target": "../b"}, "'target' is not a service name"),
        ({"priority": "urgent"}, "not a valid MessagePriority"),
        ({"created_at": "yesterday"}, "isoformat"),
        ({"created_at": "2026-01-01T00:00:00"}, "names no offset"),
        ({"created_at": 7}, "fromisoformat"),
        ({"attempt": 0}, "'attempt' is not a whole number from 1"),
        ({"attempt": True}, "'attempt' is not a whole number from 1"),
        ({"generation": -1}, "'generation' is not a whole number from 0"),
        ({"headers": [1]}, "'headers' is not an object"),
        ({"reply_to": ["q"]}, "'reply_to' is not text"),
    ],
)
def test_what_is_no_envelope_is_refused_with_the_reason(
    changes: dict[str, Any], text: str
) -> None:
    mapping = {**codec.to_mapping(an_envelope()), **changes}
    mapping = {key: value for key, value in mapping.items() if value is not ...}
    with pytest.raises(DecodeError, match=text):
        codec.from_mapping(mapping)


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "[[],{}]", "[[1,2],{},{}]", "[[1],{},{}]", b"\xff"]
)
def test_what_is_no_task_is_refused(body: str | bytes) -> None:
    with pytest.raises(DecodeError):
        codec.decode(body)


def test_fields_of_a_later_version_are_ignored() -> None:
    mapping = {**codec.to_mapping(an_envelope()), "colour": "red"}
    assert codec.from_mapping(mapping) == an_envelope()


@pytest.mark.parametrize(
    "changes",
    [{"id": "x" * 201}, {"id": "a\0b"}, {"generation": 2**31}, {"data": "\ud800"}],
    ids=["long id", "NUL", "large number", "half of a pair"],
)
def test_what_no_database_holds_is_no_envelope(changes: dict[str, Any]) -> None:
    """It was delivered again for ever: it could be neither handled nor parked."""
    mapping = {**codec.to_mapping(an_envelope()), **changes}
    with pytest.raises(DecodeError):
        codec.decode(json.dumps([[mapping], {}, {}]))
