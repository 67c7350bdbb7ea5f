"""What a service declares that it sends, and what becomes of data that is something else."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from messaging import ConfigurationError, MessagingConfig, ServiceCommunicator
from messaging.contracts.contract import Contract
from messaging.envelope import MessageKind
from messaging.errors import EncodeError
from messaging.presence import Presence
from tests.unit.test_codec import an_envelope


class Placed(TypedDict):
    id: int
    note: str | None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: int


Make = Callable[..., ServiceCommunicator]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[ServiceCommunicator] = []

    def new(**settings: Any) -> ServiceCommunicator:
        config = MessagingConfig(broker_url=f"sqlite:///{tmp_path}/broker.sqlite3", **settings)
        made.append(ServiceCommunicator("orders", config=config))
        return made[-1]

    yield new
    for communicator in made:
        communicator.close()


def test_data_that_was_not_declared_is_refused_where_that_is_checked(make: Make) -> None:
    orders = make(check_sends="raise")
    orders.sends("order.placed", Placed)
    orders.sends("order.pay", Open, to="billing")
    orders.broadcast("order.placed", {"id": 1, "note": None})
    for wrong in ({"id": "1", "note": None}, {"id": 1}, {"id": 1, "note": None, "more": 1}, None):
        with pytest.raises(EncodeError, match=r"order\.placed is not what was declared, Placed"):
            orders.broadcast("order.placed", wrong)
    orders.send_to_service("billing", "order.pay", {"id": 1, "more": 1})
    with pytest.raises(EncodeError, match="id: Field required"):
        orders.send_to_service("billing", "order.pay", {})
    # Not declared: to another service, and another type.
    orders.send_to_service("stock", "order.pay", {})
    orders.broadcast("order.gone", {})
    silent = make()
    silent.sends("order.placed", Placed)
    silent.broadcast("order.placed", {"id": "1"})


def test_an_answer_that_was_not_declared_is_an_error_of_the_handler(make: Make) -> None:
    answers = iter([{"id": 1, "note": None}, {"id": 1}])
    orders = make(check_sends="raise")
    orders.on_message("order.get", answers=Placed)(lambda _data: next(answers))
    handler = orders.bus.handlers.find("order.get")
    assert handler is not None
    asked = an_envelope(type="order.get", kind=MessageKind.REQUEST, reply_to="r", data={})
    assert handler.call(asked) == {"id": 1, "note": None}
    with pytest.raises(EncodeError, match=r"the answer to order\.get"):
        handler.call(asked)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (("order placed", Placed), "a message type"),
        (("order.placed", object()), "a pydantic model or another type that pydantic knows"),
        (("order.placed", Placed, "no name!"), "the name of a service"),
        (("order.placed", Placed, None, Placed), "nobody answers a broadcast"),
        (("order.known", Placed), "'order.known' as a broadcast a second time"),
    ],
)
def test_a_wrong_declaration_is_told_at_once(make: Make, declared: Any, expected: str) -> None:
    orders = make()
    orders.sends("order.known", Placed)
    message_type, data, *more = declared
    to, answer = [*more, None, None][:2]
    with pytest.raises(ConfigurationError, match=expected) as caught:
        orders.sends(message_type, data, to=to, answer=answer)
    assert "\n" not in str(caught.value)


def test_a_contract_is_told_with_the_registration_as_far_as_it_fits_and_no_heartbeat_has_it(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    orders = make(max_message_bytes=4000)
    orders.on_message("order.get", schema=Open, answers=list[Placed])(lambda _data: [])
    orders.sends("order.placed", Placed)
    sent: list[Any] = []
    monkeypatch.setattr(orders, "tell", lambda *each, **_: sent.append(each))
    presence = Presence(orders)
    presence._announce()
    assert len(json.dumps(sent[0][2])) < 1000
    assert "schemas" not in sent[0][2]

    registered: list[Any] = []
    real = orders.send_to_service

    def register(*each: Any, **more: Any) -> str:
        done = real(*each, **more)
        registered.append(each[2])
        return done

    monkeypatch.setattr(orders, "send_to_service", register)
    presence._register()
    assert registered[-1]["sends"][0]["type"] == "order.placed"
    assert registered[-1]["answers"]["order.get"]["type"] == "array"
    for number in range(40):
        orders.sends(f"order.number{number}", Placed)
    presence._register()
    assert registered[-1]["sends"] == []
    assert list(registered[-1]["schemas"]) == ["order.get"]
    assert "orders registers without what it sends and answers" in caplog.text


def test_the_service_of_the_page_about_contracts_works_as_it_stands(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[3] / "docs" / "contracts.md"
    code = page.read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    monkeypatch.setitem(names["communicator"].__dict__, "_config", make().bus.config)
    contract = Contract.of(names["communicator"])
    assert [(sent.type, sent.to) for sent in contract.sends] == [
        ("order.placed", None),
        ("price.quote", "billing"),
    ]
    accepted = contract.accepts["order.get"]
    assert accepted.schema is not None
    assert accepted.answers is not None
