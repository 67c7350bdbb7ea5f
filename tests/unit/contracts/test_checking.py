"""What a change would break among those that run, by the rules of docs/contracts.md."""

from typing import Any

import pytest

from messaging.contracts.checking import Finding, Grade, check
from messaging.contracts.contract import Accepted, Contract, SentMessage
from messaging.contracts.differences import differences


def a_schema(*required: str, optional: str = "", **more: Any) -> dict[str, Any]:
    names = [*required, *optional.split()]
    properties = {name: {"type": "string"} for name in names} | more
    return {"type": "object", "properties": properties, "required": list(required)}


def accepting(pattern: str = "order.placed", **schema: Any) -> dict[str, Accepted]:
    return {pattern: Accepted(**schema)}


def a_contract(service: str = "orders", version: str = "1.0", **more: Any) -> Contract:
    return Contract(service=service, version=version, **more)


def sending(schema: Any, to: str | None = None, **more: Any) -> tuple[SentMessage, ...]:
    return (SentMessage("order.placed", to, schema, **more),)


def told(findings: list[Finding]) -> list[tuple[str, str, str, str]]:
    return [(each.grade.value, each.role, each.service, each.field) for each in findings]


RUNNING = a_contract(sends=sending(a_schema("id", "total", optional="note")))
BILLING = a_contract(
    "billing", "2.3", accepts=accepting("order.*", schema=a_schema("id", "total"))
)
DESK = a_contract("desk", "7", accepts=accepting("order.#"))


def test_a_required_field_that_is_sent_no_longer_breaks_the_consumers_that_need_it() -> None:
    new = a_contract(sends=sending(a_schema("id", optional="note")))
    (finding,) = check(new, [RUNNING, BILLING, DESK])
    assert finding.line() == (
        "breaks: order.placed → billing 2.3 (handler order.*): total: is required, and is not sent"
    )
    optional = a_contract(sends=sending(a_schema("id", optional="total")))
    (finding,) = check(optional, [RUNNING, BILLING, DESK])
    assert finding.text == "is required, and may be left out"


def test_a_new_optional_field_and_one_less_that_nobody_needs_break_nothing() -> None:
    more = a_contract(sends=sending(a_schema("id", "total", optional="note coupon")))
    fewer = a_contract(sends=sending(a_schema("id", "total")))
    running = [RUNNING, BILLING, DESK]
    assert check(more, running) == check(fewer, running) == []


def test_a_consumer_may_not_ask_for_more_than_those_that_run_send() -> None:
    schema = a_schema("id", "total", "currency")
    new = a_contract("billing", "3", accepts=accepting("order.*", schema=schema))
    assert told(check(new, [RUNNING, BILLING])) == [("breaks", "accepts", "orders", "currency")]
    # What its own version that runs accepts is not what is sent: the sender has said that.
    narrower = a_schema("id", optional="note", total={"type": "string", "maxLength": 5})
    new = a_contract("billing", "3", accepts=accepting("order.*", schema=narrower))
    assert told(check(new, [RUNNING, BILLING])) == [("breaks", "accepts", "orders", "total")]


def test_where_nobody_declares_to_send_it_what_was_accepted_before_counts() -> None:
    new = a_contract("billing", "3", accepts=accepting("order.*", schema=a_schema("id", "vat")))
    assert told(check(new, [BILLING])) == [("breaks", "accepts", "billing", "vat")]
    wider = a_contract("billing", "3", accepts=accepting("order.*", schema=a_schema("id")))
    assert check(wider, [BILLING]) == []
    assert told(check(a_contract("billing", "3"), [BILLING])) == [
        ("breaks", "accepts", "billing", "")
    ]
    # A first schema narrows what was never published.
    first = a_contract("desk", "8", accepts=accepting("order.#", schema=a_schema("id")))
    assert told(check(first, [DESK])) == [("note", "accepts", "desk", "")]


def test_callers_over_http_declare_nothing_so_that_what_was_accepted_counts() -> None:
    schema = a_schema("id")
    shop = a_contract("shop", accepts=accepting(schema=schema), routed=frozenset({"order.placed"}))
    sender = a_contract(sends=sending(a_schema("id", "total"), to="shop"))
    new = a_contract("shop", "2", accepts=accepting(schema=a_schema("id", "total")))
    assert told(check(new, [shop, sender])) == [("breaks", "accepts", "shop", "total")]


def test_a_command_needs_a_handler_on_the_other_side_and_a_broadcast_does_not() -> None:
    command = a_contract(sends=sending(a_schema("id"), to="billing"))
    deaf = a_contract("billing")
    assert told(check(command, [deaf])) == [("breaks", "sends", "billing", "")]
    assert told(check(command, [])) == [("note", "sends", "", "")]  # never started: it waits
    assert check(a_contract(sends=sending(a_schema("id"))), [deaf]) == []
    assert told(check(deaf, [command])) == [("breaks", "accepts", "orders", "")]


def test_answers_are_held_against_what_askers_need() -> None:
    asker = a_contract(sends=sending(a_schema(), to="shop", answer=a_schema("price")))
    schemas: dict[str, Any] = {
        "schema": a_schema(),
        "answers": a_schema("price", optional="tax"),
    }
    shop = a_contract("shop", accepts=accepting(**schemas))
    assert check(asker, [shop]) == []
    new = a_contract("shop", "2", accepts=accepting(answers=a_schema("cents")))
    assert told(check(new, [asker, shop])) == [("breaks", "answers", "orders", "answer.price")]
    # Without an asker what was answered before stands for what is needed.
    assert told(check(new, [shop])) == [("breaks", "answers", "shop", "price")]
    greedy = a_contract(sends=sending(a_schema(), to="shop", answer=a_schema("price", "rebate")))
    assert told(check(greedy, [shop])) == [("breaks", "sends", "shop", "answer.rebate")]
    silent = a_contract("shop", "2", accepts=accepting())
    assert told(check(silent, [shop])) == [("cannot tell", "answers", "shop", "")]


def test_a_version_that_runs_beside_the_new_one_counts_as_any_other() -> None:
    """In a rolling deploy the old version gets what the new one sends, and the reverse."""
    both = accepting(schema=a_schema("id"))
    old = a_contract(accepts=both, sends=sending(a_schema("id"), to="orders"))
    changed = a_contract(
        version="2",
        accepts=accepting(schema=a_schema("key")),
        sends=sending(a_schema("key"), to="orders"),
    )
    assert told(check(changed, [old])) == [
        ("breaks", "sends", "orders", "id"),
        ("breaks", "accepts", "orders", "key"),
    ]


def test_what_is_not_understood_is_told_and_no_yes() -> None:
    odd = {**a_schema("id"), "not": {"required": ["secret"]}}
    new = a_contract("billing", "3", accepts=accepting("order.*", schema=odd))
    (finding,) = check(new, [RUNNING])
    assert (finding.grade, finding.text) == (Grade.UNKNOWN, "not is not understood")


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": 7},
        {"required": [["a"]]},
        {"$ref": "https://elsewhere/schema"},
        {"$ref": "#/$defs/none"},
        {"type": "strange"},
        {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 0},
        {"minProperties": "1"},
        {"anyOf": [{"$ref": "#"}]},
        {"enum": 5},
    ],
)
def test_a_schema_that_is_none_is_no_yes_either(schema: dict[str, Any]) -> None:
    consumer = a_contract("billing", accepts=accepting("order.*", schema=schema))
    assert check(RUNNING, [consumer])[0].grade in (Grade.UNKNOWN, Grade.BREAKS)
    sender = a_contract("shop", sends=sending(schema))
    findings = check(sender, [BILLING])
    assert all(finding.grade in (Grade.UNKNOWN, Grade.BREAKS) for finding in findings)
    assert findings


def test_differences_are_told_field_by_field() -> None:
    old = a_contract(
        accepts=accepting("pay", schema=a_schema("id", optional="note")),
        sends=sending(a_schema("id")),
    )
    line = {"type": "array", "items": a_schema("article")}
    new = a_contract(
        version="2",
        accepts=accepting("pay", schema=a_schema("id", "note", lines=line)),
        sends=sending(a_schema("id"), to="billing"),
    )
    assert [each.line() for each in differences(old, new)] == [
        "+ accepts pay lines: array, optional",
        "+ accepts pay lines[]: object",
        "+ accepts pay lines[].article: string",
        "~ accepts pay note: string, optional → string",
        "- sends order.placed",
        "+ sends order.placed to billing",
    ]
    assert differences(new, new) == []


def test_a_contract_is_the_same_text_whatever_the_order_of_the_code() -> None:
    accepts = {"b": Accepted(a_schema("x")), "a": Accepted(None, a_schema("y"))}
    sends = (SentMessage("t", "s", a_schema()), SentMessage("t", None, a_schema("z")))
    one = a_contract(accepts=accepts, sends=sends, instances=3)
    other = a_contract(accepts=dict(reversed(accepts.items())), sends=sends[::-1], instances=3)
    assert one.to_text() == other.to_text()
    assert Contract.from_json(one.to_json()).to_text() == one.to_text()
