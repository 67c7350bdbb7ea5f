"""Durable messages over HTTP to a service that is down; `test_holding` has the other brokers."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.http_stack import HttpStack
from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.embedded_only
ORDER = ["CRITICAL", "HIGH", "NORMAL", "LOW"]
POSTS = 50


@pytest.fixture
def stack(installation: Installation) -> Iterator[HttpStack]:
    with HttpStack(installation, worker_concurrency=1) as stack:
        yield stack.start()


def test_fifty_posts_to_a_service_that_is_down(stack: HttpStack) -> None:
    instance = stack.start_instance()
    stack.wait_routed("/api/web/orders/1")
    instance.process.stop()
    eventually(lambda: stack.client.get("/api/web/orders/1").status_code == 503, 10, "down")
    before = len(stack.journal.lines(event="order"))

    urls = []
    for number in range(POSTS):
        accepted = stack.client.post(
            f"/api/web/orders/{number}",
            json={},
            headers={
                "Prefer": "respond-async",
                "Idempotency-Key": str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))),
                "Message-Priority": ORDER[::-1][number % len(ORDER)],
            },
        )
        assert accepted.status_code == 202, accepted.text
        urls.append(accepted.headers["location"])
        if number % 5 == 0:  # sent a second time: the client did not get the answer
            again = stack.client.send(accepted.request)
            assert again.headers["location"] == urls[-1]
    assert {stack.client.get(url).json()["state"] for url in urls} == {"accepted"}

    stack.start_instance(instance.port)
    eventually(lambda: len(orders(stack)) >= before + POSTS, 40, "fifty effects")
    eventually(
        lambda: {stack.client.get(url).json()["state"] for url in urls} == {"handled"},
        20,
        "their status says so",
    )
    effects = orders(stack)[before:]
    assert sorted(effect["order"] for effect in effects) == list(range(POSTS))
    priorities = [effect["priority"] for effect in effects]
    assert priorities == sorted(priorities, key=ORDER.index)
    account = json.loads(stack.installation.manage("bus_account", "--json").stdout)
    assert account["unaccounted"] == 0


def orders(stack: HttpStack) -> list[dict[str, Any]]:
    return stack.journal.lines(event="order")
