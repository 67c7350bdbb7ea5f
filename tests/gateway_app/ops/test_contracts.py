"""The Contracts page: who sends what to whom, versions side by side, and what does not fit."""

from typing import Any

import pytest
from bs4 import BeautifulSoup

from gateway_app.ops import contracts as page
from tests.gateway_app.conftest import Login
from tests.gateway_app.registry.test_registry import register

# What is dear to read is read on another thread, which sees what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


def a_schema(*required: str) -> dict[str, Any]:
    properties = {name: {"type": "string"} for name in required}
    return {"type": "object", "properties": properties, "required": list(required)}


def shown(login: Login, query: str = "") -> BeautifulSoup:
    known: Any = page._known
    known.__init__(known._read, known._least_seconds)
    html = login("view_bus").get(f"/ops/contracts/{query}").content.decode()
    return BeautifulSoup(html, "html.parser")


def texts(html: BeautifulSoup, test_id: str) -> list[str]:
    found = html.select(f"[data-testid={test_id}]")
    return [" ".join(each.get_text(" ").split()) for each in found]


def test_versions_side_by_side_and_what_does_not_fit_are_marked(login: Login) -> None:
    assert texts(shown(login), "contracts-verdict") == ["Nothing can be compared yet"]
    register("orders", "o1", sends=[{"type": "order.placed", "schema": a_schema("id")}])
    old = {"subscriptions": ["order.*"], "schemas": {"order.*": a_schema("id")}}
    register("billing", "b1", **old)
    register("desk", "d1", subscriptions=["order.#"])
    html = shown(login)
    assert texts(html, "contracts-verdict") == ["All that is declared as sent is accepted"]
    (row,) = html.select("[data-testid=contract-row]")
    assert row["data-grade"] == "fits"
    said = " ".join(row.get_text(" ").split())
    assert said.startswith("order.placed event fits orders 1.0 1 field id string")
    assert "billing 1.0 order.* 1 field" in said
    assert "desk 1.0 order.# takes anything" in said

    new = {"subscriptions": ["order.*"], "schemas": {"order.*": a_schema("id", "<vat>")}}
    register("billing", "b2", **{**new, "version": "2.0"})
    html = shown(login)
    assert texts(html, "contracts-verdict") == ["1 field of what is sent now is not accepted"]
    assert texts(html, "conflict-row") == [
        "does not fit order.placed orders 1.0 to billing 2.0 <vat> : is required, and is not sent"
    ]
    assert [text.split(" ", 2)[:2] for text in texts(html, "version-row")] == [
        ["billing", "1.0"],
        ["billing", "2.0"],
        ["desk", "1.0"],
        ["orders", "1.0"],
    ]
    assert sum("side by side" in text for text in texts(html, "version-row")) == 2
    assert html.select("[data-testid=contract-row]")[0]["data-grade"] == "breaks"

    html = shown(login, "?service=desk")
    assert texts(html, "conflict-row") == []
    assert len(texts(html, "version-row")) == 1


def test_a_schema_that_nobody_understands_takes_the_page_from_nobody(login: Login) -> None:
    odd: list[Any] = [
        {"properties": 5},
        {"anyOf": [{"$ref": "#"}]},
        {"required": [[]], "$ref": "#/nowhere"},
        {"$schema": 5},
    ]
    for number, schema in enumerate(odd):
        message_type = f"odd.{number}"
        register(
            f"odd{number}",
            f"i{number}",
            handles=[message_type],
            subscriptions=[message_type],
            schemas={message_type: schema},
        )
        sent = {"type": message_type, "to": f"odd{number}", "schema": a_schema("id")}
        register(f"sender{number}", f"s{number}", sends=[sent])
    html = shown(login)
    rows = html.select("[data-testid=contract-row]")
    assert [row["data-grade"] for row in rows] == ["cannot tell"] * len(odd)
