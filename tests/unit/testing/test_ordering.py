"""Ordering keys, seen with the harness: what a service's author may rely on, and test."""

import random
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging import Reject, RetryPolicy, ServiceCommunicator
from messaging.envelope import Envelope
from messaging.testing import Harness

PATIENT = RetryPolicy(immediate=1, delayed=3, base_seconds=60, floor_seconds=60)


@pytest.fixture
def billing() -> ServiceCommunicator:
    return ServiceCommunicator("billing", version="1")


def test_a_retry_holds_up_those_behind_it_and_no_other_key(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    done: list[str] = []

    @billing.on_message("book", retry=PATIENT)
    def book(data: Any, message: Envelope) -> None:
        if data == "a1" and message.attempt < 3:
            raise ValueError("not yet")
        done.append(data)

    bus.service(billing)
    for name in ("a1", "a2", "b1", "a3", "b2"):
        bus.send("billing", "book", name, ordering_key=name[0])
    assert done == ["b1", "b2"]
    bus.advance("1h")
    assert done == ["b1", "b2", "a1", "a2", "a3"]
    assert not bus.unaccounted()


def test_one_that_is_parked_does_not_hold_up_those_behind_it(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    done: list[int] = []

    @billing.on_message("book")
    def book(data: Any) -> None:
        if data == 1:
            raise Reject("no such account")
        done.append(data)

    bus.service(billing)
    with transaction.atomic():
        for number in range(4):
            bus.speaker("shop").send_to_service("billing", "book", number, ordering_key="k")
    bus.settle()
    assert done == [0, 2, 3]
    assert bus.parked("book", reason="rejected").once


def test_an_expired_one_does_not_hold_up_those_behind_it(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    done: list[int] = []
    billing.on_message("book")(done.append)
    bus.service(billing)
    bus.stop("billing")
    for number in range(3):
        expires_in = 10 if number == 1 else None
        bus.send("billing", "book", number, ordering_key="k", expires_in=expires_in)
    bus.advance("1m")
    bus.start("billing")
    bus.advance("5m")
    assert done == [0, 2]


def test_a_broadcast_is_in_order_for_each_subscriber_by_itself(bus: Harness) -> None:
    heard: dict[str, list[int]] = {"fast": [], "slow": []}
    for name, of_service in heard.items():
        listener = ServiceCommunicator(name)

        @listener.on_message("price.changed", retry=PATIENT)
        def note(
            data: Any, message: Envelope, name: str = name, heard: list[int] = of_service
        ) -> None:
            if name == "slow" and data == 0 and message.attempt == 1:
                raise ValueError("busy")
            heard.append(data)

        bus.service(listener)
    for number in range(3):
        bus.broadcast("price.changed", number, ordering_key="item-7")
    assert heard == {"fast": [0, 1, 2], "slow": []}
    bus.advance("10m")
    assert heard == {"fast": [0, 1, 2], "slow": [0, 1, 2]}


def test_what_a_handler_sends_under_a_key_is_sent_when_it_is_done_and_in_order(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    done: list[int] = []
    billing.on_message("book")(done.append)
    shop = ServiceCommunicator("shop")

    @shop.on_message("order", atomic=True)
    def order(data: Any) -> None:
        for number in range(3):
            shop.send_to_service("billing", "book", data + number, ordering_key="k")
        assert done == ([] if data == 0 else [0, 1, 2])

    bus.service(billing)
    bus.service(shop)
    bus.send("shop", "order", 0)
    bus.send("shop", "order", 10)
    assert done == [0, 1, 2, 10, 11, 12]


def test_in_order_though_nobody_is_told_of_ends(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    """The sender does not know that the first is done: the second waits until it does."""
    done: list[int] = []
    billing.on_message("book")(done.append)
    bus.service(billing)
    with bus.drop_receipts("billing"):
        for number in range(3):
            bus.send("billing", "book", number, ordering_key="k")
        bus.advance("5m")
        assert done == [0]
    bus.advance("20m")
    assert done == [0, 1, 2]


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
@pytest.mark.django_db(transaction=True)
def test_whatever_fails_the_order_in_each_key_is_that_of_sending(seed: int) -> None:
    chance = random.Random(seed)
    billing = ServiceCommunicator("billing", version="1")
    done: dict[str, list[int]] = {key: [] for key in "abc"}

    @billing.on_message("book", retry=PATIENT, atomic=True)
    def book(data: Any) -> None:
        if chance.random() < 0.2:
            raise ValueError("not now")
        key, number = data
        done[key].append(number)

    with Harness() as bus:
        bus.service(billing)
        sent = dict.fromkeys(done, 0)
        for _ in range(20):
            match chance.randrange(9):
                case 0:
                    bus.crash("billing", before="book")
                case 4:
                    bus.crash("billing", after="book")
                case 1:
                    bus.duplicate("book")
                case 2:
                    bus.wipe_broker()
                case 3:
                    bus.advance(chance.randrange(1, 200))
                case _:
                    key = chance.choice("abc")
                    bus.send("billing", "book", [key, sent[key]], ordering_key=key)
                    sent[key] += 1
        bus.advance("6h")
        parked = bus.parked("book")
        gone = {(fact.data[0], fact.data[1]) for fact in parked}
        for key, numbers in done.items():
            assert numbers == [n for n in range(sent[key]) if (key, n) not in gone]
        assert not bus.unaccounted()
