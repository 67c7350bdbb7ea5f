"""The services of the scene, one program for all: SCENE_SERVICE says which one it is.

Run by ``celery -A tests.pictures.service worker``.
"""

import os
from typing import Any, Final

import django

django.setup()

from messaging import (  # noqa: E402
    Envelope,
    RetryPolicy,
    Route,
    ServiceCommunicator,
)
from messaging.clock import SYSTEM_CLOCK  # noqa: E402

NAME: Final = os.environ["SCENE_SERVICE"]
VERSION: Final = os.environ["SCENE_VERSION"]
ROUTES: Final = {
    "user-service": [Route(path="/api/users/{userId}", message="get.user.details")],
    "document-service": [
        Route(path="/api/documents/{documentId}", message="document.render", priority="HIGH")
    ],
    "scraper-service": [Route(path="/api/zones", methods=("POST",), message="scrape.free_zones")],
}
communicator = ServiceCommunicator(NAME, version=VERSION, routes=ROUTES.get(NAME, []))
app = communicator.celery_app

#: Of an invoice that cannot be made.
NO_RATE_FOR: Final = ("NO", "CH", "IS")
_RATES: Final = {"DE": 0.19, "FR": 0.2, "IT": 0.22, "ES": 0.21}


def user_service() -> None:
    """Answers questions, and has invoices made and mails sent."""

    @communicator.on_message("get.user.details")
    def get_user_details(data: Any) -> dict[str, Any]:
        return {"userId": data["userId"], "name": "Ada"}

    @communicator.on_message("document.created")
    def document_created(data: Any) -> None:
        country = [*_RATES, *NO_RATE_FOR][data["number"] % 7] if data["number"] % 5 == 0 else "DE"
        invoice = {
            "invoiceId": data["number"],
            "country": country,
            "total": "129.00",
            "email": "ada@example.org",
        }
        communicator.send_to_service("billing-service", "invoice.create", invoice, priority="HIGH")
        communicator.send_to_service(
            "notification-service", "email.send", {"to": data["number"]}, priority="LOW"
        )


def document_service() -> None:
    """Keeps documents, and tells of those that are new."""

    @communicator.on_message("document.store")
    def store(data: Any) -> None:
        communicator.broadcast("document.created", data)

    @communicator.on_message("document.render")
    def render(data: Any) -> dict[str, Any]:
        SYSTEM_CLOCK.sleep(0.05)
        return {"documentId": data["documentId"], "pages": 3}


def scraper_service() -> None:
    """Finds documents."""

    @communicator.on_message("scrape.free_zones")
    def scrape(data: Any) -> dict[str, Any]:
        SYSTEM_CLOCK.sleep(0.02)
        communicator.send_to_service("document-service", "document.store", data)
        return {"stored": 1}


def billing_service() -> None:
    """Makes invoices, for countries whose rate it knows."""

    @communicator.on_message(
        "invoice.create", retry=RetryPolicy(immediate=1, delayed=2, base_seconds=1.0)
    )
    def create(data: Any, _message: Envelope) -> None:
        apply_vat(data)
        communicator.broadcast("invoice.created", {"invoiceId": data["invoiceId"]})

    @communicator.on_message("document.created")
    def document_created(data: Any) -> None:
        if data["number"] % 9 == 0:
            communicator.send_to_service(
                "notification-service", "payment.failed", data, priority="CRITICAL"
            )


def apply_vat(invoice: dict[str, Any]) -> float:
    """Return the tax of an invoice; the scene's mistake: not every country has a rate."""
    return float(invoice["total"]) * _RATES[invoice["country"]]


def notification_service() -> None:
    """Sends mails, slowly."""

    @communicator.on_message("email.send")
    def send(_data: Any) -> None:
        SYSTEM_CLOCK.sleep(3.0)

    @communicator.on_message("invoice.created")
    @communicator.on_message("payment.failed")
    def note(_data: Any) -> None:
        SYSTEM_CLOCK.sleep(0.01)


{
    "user-service": user_service,
    "document-service": document_service,
    "scraper-service": scraper_service,
    "billing-service": billing_service,
    "notification-service": notification_service,
}[NAME]()
