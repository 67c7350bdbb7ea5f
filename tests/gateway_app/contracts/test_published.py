"""The contracts of what runs: as the registry has them, and as programs fetch them."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from jsonschema import Draft7Validator, Draft202012Validator

from gateway_app import registry, tokens
from gateway_app.contracts.running import running_contracts
from gateway_app.models import ApiToken
from gateway_app.registry.registrations import InvalidRegistration
from messaging.envelope import utc_now
from tests.gateway_app.conftest import Login
from tests.gateway_app.registry.test_registry import NOW, a_registration, after, register

pytestmark = pytest.mark.django_db
#: From the npm package @asyncapi/specs 6.11.1, schemas/3.0.0-without-$id.json; see LICENSE there.
OFFICIAL = Path(__file__).parent / "asyncapi" / "3.0.0-without-id.json"
ORDER = {
    "$defs": {"Line": {"type": "object", "properties": {"count": {"type": "integer"}}}},
    "type": "object",
    "properties": {"id": {"type": "integer"}, "lines": {"items": {"$ref": "#/$defs/Line"}}},
    "required": ["id"],
}
PRICE = {"type": "object", "properties": {"cents": {"type": "integer"}}}
BILLING: dict[str, Any] = {
    "handles": ["price.quote"],
    "subscriptions": ["order.*", "price.quote"],
    "schemas": {"price.quote": ORDER, "order.*": ORDER},
    "answers": {"price.quote": PRICE},
}
ORDERS: dict[str, Any] = {
    "sends": [
        {"type": "order.placed", "to": None, "schema": ORDER},
        {"type": "price.quote", "to": "billing", "schema": ORDER, "answer": PRICE},
    ]
}
PATHS = ("/ops/contracts.json", "/ops/asyncapi.json")


def bearer(*scopes: str) -> dict[str, str]:
    end = utc_now() + timedelta(hours=1)
    _, text = tokens.create("ci", scopes, expires_at=end, actor="ann", now=utc_now())
    return {"Authorization": f"Bearer {text}"}


def test_each_version_has_its_own_contract_and_the_last_one_stays_while_none_runs() -> None:
    register("billing", "b1", **BILLING)
    register("billing", "b2", **BILLING)
    newer = {**BILLING, "version": "1.1", "schemas": {"price.quote": ORDER}}
    register("billing", "b3", **newer)
    register("orders", "o1", **ORDERS)
    one, other, orders = running_contracts()
    assert (str(one), str(other), str(orders)) == ("billing 1.0", "billing 1.1", "orders 1.0")
    assert [each.instances for each in (one, other, orders)] == [2, 1, 1]
    assert one.accepts["order.*"].schema == ORDER
    assert other.accepts["order.*"].schema is None
    assert one.accepts["price.quote"].answers == PRICE
    assert [sent.to for sent in orders.sends] == [None, "billing"]
    for instance in ("b1", "b2", "b3"):
        registry.deregister("billing", instance, said_at=after(5), now=after(5))
    waiting = [each for each in running_contracts() if each.service == "billing"]
    assert waiting
    assert {each.instances for each in waiting} == {0}
    assert all("price.quote" in each.accepts for each in waiting)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sends": {"type": "a"}},
        {"sends": [{"type": "no type!"}]},
        {"sends": [{"type": "a", "to": "no name!"}]},
        {"sends": [{"type": "a", "schema": True}]},
        {"answers": {"a b": {}}},
        {"answers": {"a": []}},
    ],
)
def test_a_registration_whose_contract_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRegistration):
        a_registration(**wrong)


def test_the_asyncapi_document_is_valid_by_the_official_schema(login: Login) -> None:
    register("billing", "b1", **BILLING)
    register("billing", "b2", version="2+rc 1", **BILLING)
    register("orders", "o1", **ORDERS)
    register("empty", "e1")
    document = login("view_bus").get("/ops/asyncapi.json").json()
    validator = Draft7Validator(json.loads(OFFICIAL.read_text()))
    assert [error.message for error in validator.iter_errors(document)] == []
    assert document["asyncapi"] == "3.0.0"
    assert sorted(document["channels"]) == [
        "event.order.placed",
        "service.billing",
        "service.empty",
        "service.orders",
    ]
    messages = document["components"]["messages"]
    for operation in document["operations"].values():
        channel = document["channels"][operation["channel"]["$ref"].rsplit("/", 1)[1]]
        reply = operation.get("reply", {}).get("messages", [])
        for reference in (*operation["messages"], *reply):
            name = reference["$ref"].rsplit("/", 1)[1]
            assert channel["messages"][name] == {"$ref": f"#/components/messages/{name}"}
            assert name in messages
    sent = messages["orders.1.0.sends.order.placed"]["payload"]["schema"]
    Draft202012Validator(sent).validate({"id": 1, "lines": [{"count": 2}]})
    assert not Draft202012Validator(sent).is_valid({"id": 1, "lines": [{"count": "two"}]})
    asked = document["operations"]["billing.1.0.receive.price.quote.service.billing"]
    assert asked["reply"]["messages"] == [
        {"$ref": "#/channels/service.billing/messages/billing.1.0.answers.price.quote"}
    ]
    actions = {each["action"] for each in document["operations"].values()}
    assert actions == {"send", "receive"}


@pytest.mark.parametrize("path", PATHS)
def test_a_login_or_a_token_of_the_path_itself_is_needed(path: str, login: Login) -> None:
    stranger = Client()
    answer = stranger.get(path)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    for scheme in ("Bearer mbus_x", "Basic YTpi", "Bearer"):
        assert stranger.get(path, headers={"Authorization": scheme}).status_code == 401
    assert stranger.get(path, headers=bearer("/api/*")).status_code == 403
    other = next(each for each in PATHS if each != path)
    assert stranger.get(path, headers=bearer(other)).status_code == 403
    headers = bearer(path)
    assert stranger.get(path, headers=headers).status_code == 200
    token = ApiToken.objects.get(scopes_json=json.dumps([path]))
    assert token.last_used_at is not None
    tokens.revoke(token, actor="ann", now=utc_now())
    assert stranger.get(path, headers=headers).status_code == 401
    assert login().get(path).status_code == 401
    assert login("view_bus").get(path).status_code == 200
    assert login("view_bus").post(path).status_code == 405


def test_a_service_says_what_it_sends_with_its_registration_and_not_with_heartbeats() -> None:
    said = a_registration("orders", **ORDERS)
    assert json.loads(said.contract_json)["sends"][0]["schema"] == ORDER
    registry.register(said, said_at=NOW, now=NOW)
    before = running_contracts()
    registry.announce("i1", after(1))
    assert running_contracts() == before
