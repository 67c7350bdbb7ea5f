"""A customer of the shop: knows the gateway's address, and nothing else."""

import secrets
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import httpx

from gateway_app.tour.stage import Stage, require
from shop.payments.provider import CARD_GOOD
from shop.story.looks import ShopLooks

#: Above the gateway's own bound, so that its answer is seen and not this client's timeout.
HTTP_SECONDS: Final = 35.0
#: Pauses between attempts, and what a broker without memory takes, with room to spare.
ENDED_SECONDS: Final = 60.0


class Customer:
    """Looks at products, orders, and asks what became of it, all over HTTP.

    Args:
        stage: whose gateway is asked.
    """

    def __init__(self, stage: Stage[ShopLooks]) -> None:
        self._stage = stage
        self._url = stage.stack.gateway_url

    def look(self, sku: str) -> dict[str, Any] | None:
        """Return a product; None: there is none."""
        response = httpx.get(
            f"{self._url}/api/products/{sku}", timeout=HTTP_SECONDS, trust_env=False
        )
        return response.json() if response.is_success else None

    def order(self, card: str = CARD_GOOD, sku: str = "mug", *, waits: bool = True) -> str:
        """Order a piece; return the number of the order.

        Args:
            card: who pays.
            sku: of what.
            waits: for the answer of orders; else it is enough that the gateway keeps the order.
        """
        number = f"order-{secrets.token_hex(6)}"
        response = httpx.post(
            f"{self._url}/api/orders",
            json={
                "order": number,
                "email": "ada@example.com",
                "sku": sku,
                "quantity": 1,
                "card": card,
            },
            headers={} if waits else {"Prefer": "respond-async", "Idempotency-Key": number},
            timeout=HTTP_SECONDS,
            trust_env=False,
        )
        expected = httpx.codes.OK if waits else httpx.codes.ACCEPTED
        require(
            response.status_code == expected,
            f"POST /api/orders: {response.status_code} {response.text}",
        )
        return number

    def wait_for(self, orders: Iterable[str], state: str) -> dict[str, Any]:
        """Return the last of these orders when all of them are in this state.

        Raises:
            StepFailed: one of them ended otherwise, or did not end.
        """
        answer: dict[str, Any] = {}
        for order in orders:
            answer = self._stage.eventually(
                f"the end of {order}", partial(self._ended, order), ENDED_SECONDS
            )
            require(answer["state"] == state, f"{order} is {answer['state']}: {answer['reason']}")
        return answer

    def _ended(self, order: str) -> dict[str, Any] | None:
        response = httpx.get(
            f"{self._url}/api/orders/{order}", timeout=HTTP_SECONDS, trust_env=False
        )
        if not response.is_success:
            return None  # an order that the gateway keeps is not there yet
        answer: dict[str, Any] = response.json()
        return answer if answer["state"] in ("confirmed", "cancelled") else None
