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

    def look(self, sku: str) -> dict[str, Any]:
        """Return a product, once the gateway knows the way to it and the warehouse has counted."""
        return self._stage.eventually(f"a look at {sku}", partial(self._counted, sku))

    def is_unknown(self, sku: str) -> bool:
        """Return whether there is no such product."""
        return self._get(f"products/{sku}").status_code == httpx.codes.NOT_FOUND

    def order(self, card: str = CARD_GOOD, sku: str = "mug", *, waits: bool = True) -> str:
        """Order a piece; return the number of the order.

        Whoever is told 5xx sends it again: under its number it is the same order.

        Args:
            card: who pays.
            sku: of what.
            waits: for the answer of orders; else it is enough that the gateway keeps the order.
        """
        number = f"order-{secrets.token_hex(6)}"
        data = {"order": number, "email": "ada@example.com", "sku": sku, "quantity": 1}
        keep = {"Prefer": "respond-async", "Idempotency-Key": number}
        post = partial(self._post, {**data, "card": card}, {} if waits else keep)
        answer = self._stage.eventually(f"the answer to {number}", post)
        expected = httpx.codes.OK if waits else httpx.codes.ACCEPTED
        require(answer.status_code == expected, f"{answer.status_code}: {answer.text}")
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

    def _counted(self, sku: str) -> dict[str, Any] | None:
        answer = self._get(f"products/{sku}")
        product: dict[str, Any] = answer.json() if answer.is_success else {}
        return product if product.get("stock") is not None else None

    def _ended(self, order: str) -> dict[str, Any] | None:
        answer = self._get(f"orders/{order}")
        if not answer.is_success:
            return None  # an order that the gateway keeps is not there yet
        found: dict[str, Any] = answer.json()
        return found if found["state"] in ("confirmed", "cancelled") else None

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self._url}/api/{path}", timeout=HTTP_SECONDS, trust_env=False)

    def _post(self, data: dict[str, Any], headers: dict[str, str]) -> httpx.Response | None:
        answer = httpx.post(
            f"{self._url}/api/orders",
            json=data,
            headers=headers,
            timeout=HTTP_SECONDS,
            trust_env=False,
        )
        return None if answer.is_server_error else answer
