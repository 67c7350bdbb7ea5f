"""Notifications by itself: who is told what, and how often."""

import smtplib

import pytest
from django.core import mail

from messaging.testing import Harness
from shop.notifications import handlers
from shop.notifications.handlers import communicator

NEWS = {"order": "order-0001", "email": "ada@example.com"}


@pytest.fixture(autouse=True)
def _runs(bus: Harness) -> None:
    bus.service(communicator)


def happen(bus: Harness, event: str, **data: object) -> None:
    bus.broadcast(event, {**NEWS, **data}, priority="CRITICAL")


def subjects() -> list[str]:
    return [str(each.subject) for each in mail.outbox]


def test_the_customer_is_told_what_becomes_of_an_order(bus: Harness) -> None:
    happen(bus, "order.placed", sku="mug")
    happen(bus, "order.confirmed")
    happen(bus, "order.cancelled", reason="it is sold out")
    happen(bus, "order.dreamt.of")
    assert subjects() == [
        "We have your order order-0001",
        "Your order order-0001 is paid, the parcel is on its way",
        "Your order order-0001 is cancelled: it is sold out",
    ]
    assert {tuple(each.to) for each in mail.outbox} == {("ada@example.com",)}
    assert bus.handled("mail.send", priority="LOW").times(3)


def test_few_left_is_told_to_purchasing(bus: Harness) -> None:
    bus.broadcast("stock.low", {"sku": "lamp", "available": 2})
    assert subjects() == ["Only 2 of lamp left"]
    assert mail.outbox[0].to == ["purchasing@example.com"]


def test_what_is_said_while_it_is_down_is_told_once_when_it_is_back(bus: Harness) -> None:
    bus.stop("notifications")
    for _ in range(10):
        happen(bus, "order.placed")
    bus.start("notifications")
    assert len(mail.outbox) == 10


def test_an_event_that_comes_twice_is_one_mail(bus: Harness) -> None:
    bus.duplicate("order.placed")
    bus.crash("notifications", after="order.placed")
    happen(bus, "order.placed")
    assert len(mail.outbox) == 1


def test_a_mail_server_that_is_away_gets_the_mail_later(
    bus: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise smtplib.SMTPServerDisconnected("away")

    with monkeypatch.context() as away:
        away.setattr(handlers, "hand_over", refuse)
        happen(bus, "order.placed")
        bus.advance("3h")
    assert mail.outbox == []
    assert bus.parked().never
    bus.advance("1h")
    assert len(mail.outbox) == 1
