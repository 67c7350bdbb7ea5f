"""The gateway itself, run by the harness of the library."""

import gateway_app.handlers  # noqa: F401 - registers what the gateway does
from gateway_app.bus import communicator as gateway
from gateway_app.models import DeadLetter
from messaging import Reject, ServiceCommunicator
from messaging.testing import Harness


def test_a_dead_letter_reaches_the_gateways_table(bus: Harness) -> None:
    billing = ServiceCommunicator("billing")

    @billing.on_message("invoice.create")
    def create(_data: object) -> None:
        raise Reject("never")

    bus.service(gateway)
    bus.service(billing)
    message_id = bus.send("billing", "invoice.create")
    letter = DeadLetter.objects.get()
    assert (letter.message_id, letter.service, letter.reason) == (
        message_id,
        "billing",
        "rejected",
    )
