"""Messages that an operator ends: all of a service, or one that keeps others from going on."""

from io import StringIO

import pytest
from django.core.management import call_command

from gateway_app.bus import communicator
from gateway_app.models import DeadLetter
from messaging import codec
from messaging.models import OutboxMessage

pytestmark = pytest.mark.django_db(transaction=True)


def send(number: int, to: str = "billing") -> str:
    return communicator.send_to_service(to, "account.book", {"n": number}, ordering_key="k")


def states(service: str) -> list[str]:
    rows = OutboxMessage.objects.filter(target=service).order_by("pk")
    return list(rows.values_list("state", flat=True))


def resolve(*arguments: str) -> str:
    out = StringIO()
    call_command("bus_resolve", *arguments, "--reason", "for a test", stdout=out)
    return out.getvalue()


def test_one_that_cannot_go_on_is_parked_and_the_next_of_its_key_goes_out() -> None:
    first, _, _ = (send(number) for number in range(3))
    communicator.bus.dispatch.flush()
    assert resolve("billing", "--id", first) == "1 parked.\n"
    assert states("billing") == ["resolved", "pending", "queued"]
    assert [letter.message_id for letter in DeadLetter.objects.all()] == [first]


def test_redirected_messages_of_a_key_keep_their_order() -> None:
    ids = [send(number) for number in range(4)]
    communicator.bus.dispatch.flush()
    assert resolve("billing", "--to", "accounts") == "4 sent to accounts.\n"
    rows = OutboxMessage.objects.filter(target="accounts").order_by("pk")
    assert [row.message_id for row in rows] == ids
    assert [codec.decode(row.envelope).ordering_key for row in rows] == ["k"] * 4
    communicator.bus.dispatch.flush()
    assert states("accounts")[1:] == ["queued"] * 3
