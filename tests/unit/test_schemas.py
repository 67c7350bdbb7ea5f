"""Handlers that take a model instead of raw data."""

import logging
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field

from messaging import ConfigurationError, InvalidData, MessagingConfig, ServiceCommunicator
from messaging.custody.arrival import ONLY_COPY
from messaging.handlers import HandlerTable
from messaging.models import InboxMessage, OutboxMessage
from messaging.receiver import Receiver
from tests.unit.custody.test_inbox import critical
from tests.unit.test_codec import an_envelope


class Order(BaseModel):
    user_id: int = Field(alias="userId")
    items: list[str] = []
    due: date | None = None


def call(model: type[BaseModel], data: Any) -> Any:
    handler = HandlerTable().add("order", lambda order: order, schema=model)
    return handler.call(an_envelope(data=data))


def text_of(model: type[BaseModel], data: Any) -> str:
    with pytest.raises(InvalidData) as caught:
        call(model, data)
    assert caught.value.code == "invalid"
    return caught.value.reason


def test_the_handler_gets_a_model_of_its_own_each_time_and_the_message_as_it_came() -> None:
    seen: list[Any] = []
    table = HandlerTable()
    handler = table.add("order", lambda *both: seen.append(both), schema=Order)
    envelope = an_envelope(data={"userId": 7, "due": "2026-03-01", "more": True})
    for _ in range(2):
        handler.call(envelope)
    (first, message), (second, _) = seen
    assert (first.user_id, first.due, message.data["userId"]) == (7, date(2026, 3, 1), 7)
    assert first is not second


def test_what_is_wrong_has_a_line_for_each_field() -> None:
    assert text_of(Order, {"items": ["a", 5], "due": "soon"}).splitlines() == [
        "userId: Field required",
        "items.1: Input should be a valid string",
        "due: Input should be a valid date or datetime, input is too short",
    ]
    assert text_of(Order, [1]) == "data: Input should be an object"


def test_many_errors_and_long_names_are_cut() -> None:
    class Strict(Order):
        model_config = ConfigDict(extra="forbid")

    data = {"userId": 1, "items": [1] * 40}
    assert "x" * 101 not in text_of(Strict, {"userId": 1, "x" * 1000: 1})
    lines = text_of(Strict, {**data, "userId": "x"}).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 21 more"
    assert max(map(len, lines)) < 250


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Secrets(BaseModel):
    number: int
    choice: Literal["a", "b"]
    pet: Cat | Dog = Field(discriminator="kind")
    id: UUID
    born_at: datetime
    raw: bytes = Field(min_length=100)


@pytest.mark.parametrize("field", Secrets.model_fields)
def test_what_is_wrong_quotes_no_values(field: str) -> None:
    """It is shown to people who may not see what messages say."""
    values = {name: {"kind": "zq7z"} if name == "pet" else "zq7z" for name in Secrets.model_fields}
    (line,) = (
        each for each in text_of(Secrets, values).splitlines() if each.startswith(f"{field}:")
    )
    assert "z" not in line.removeprefix(field)
    assert "should" in line


def test_a_strict_model_takes_what_json_has_no_types_for() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(strict=True)
        due: date
        count: int

    assert call(Strict, {"due": "2026-03-01", "count": 1}).due == date(2026, 3, 1)
    assert text_of(Strict, {"due": "2026-03-01", "count": "1"}) == (
        "count: Input should be a valid integer"
    )
    assert "count" in text_of(Strict, {"due": "\ud800", "count": "1"})  # no JSON to pydantic


@pytest.mark.parametrize("schema", [dict, Order.model_validate({"userId": 1}), {"type": "object"}])
def test_only_a_model_is_a_schema(schema: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected a pydantic model class"):
        HandlerTable().add("order", print, schema=schema)


def test_schemas_are_published_by_pattern(caplog: pytest.LogCaptureFixture) -> None:
    class Unwritable(BaseModel):
        callback: Callable[[], None]

    table = HandlerTable()
    table.add("order", print, schema=Order)
    table.add("order.*", print, schema=Order)
    table.add("odd", print, schema=Unwritable)
    table.add("raw", print)
    with caplog.at_level(logging.WARNING):
        schemas = table.schemas()
    assert list(schemas) == ["order", "order.*"]
    assert schemas["order"]["required"] == ["userId"]
    assert "Unwritable has no JSON Schema" in caplog.text


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceCommunicator]:
    config = MessagingConfig(broker_url=f"sqlite:///{tmp_path}/broker.sqlite3")
    communicator = ServiceCommunicator("b", config=config)
    yield communicator
    communicator.close()


@pytest.mark.django_db
def test_under_custody_what_does_not_validate_is_parked_at_once(
    service: ServiceCommunicator,
) -> None:
    @service.on_message("get.user.details", schema=Order, atomic=True)
    def handle(_order: Order) -> None:
        pytest.fail("called")

    Receiver(service).receive(critical(data={"userId": "x"}), ONLY_COPY)
    row = InboxMessage.objects.get()
    assert (row.state, row.attempts) == ("parked", 1)
    assert '"reason":"invalid"' in OutboxMessage.objects.get().envelope.replace(" ", "")
