"""Messages that an operator ends: all of a service, or one that keeps others from going on."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from gateway_app.bus import communicator
from gateway_app.models import DeadLetter, Service, ServiceInstance, State
from messaging import codec
from messaging.envelope import utc_now
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


def refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        call_command("bus_resolve", *arguments)
    assert caught.value.returncode == 2
    return str(caught.value)


def test_what_is_kept_for_a_service_is_not_redirected_to_that_service() -> None:
    told = refused("billing", "--to", "billing", "--reason", "typo")
    assert told == "expected another service than billing for --to"


def test_a_service_that_is_up_keeps_its_messages_unless_one_or_force_is_asked_for() -> None:
    """The name of a running service, where that of a removed one was meant, parked all it had."""
    service = Service.objects.create(name="billing")
    instance = ServiceInstance.objects.create(
        service=service, instance_id="1", registered_at=utc_now(), last_seen_at=utc_now()
    )
    first, _, _ = (send(number) for number in range(3))
    assert "billing is up" in refused("billing", "--reason", "for a test")
    assert DeadLetter.objects.count() == 0
    assert resolve("billing", "--id", first) == "1 parked.\n"
    assert resolve("billing", "--force") == "2 parked.\n"
    send(3)
    ServiceInstance.objects.filter(pk=instance.pk).update(heard=State.DOWN)
    assert resolve("billing") == "1 parked.\n"


def test_a_service_nobody_knows_and_a_reason_that_is_none_are_wrong_input() -> None:
    send(0)
    assert "no service 'biling' has ever registered" in refused("biling", "--reason", "gone")
    assert "expected a reason" in refused("billing", "--reason", " ")
    assert "not a service name" in refused("billing", "--reason", "gone", "--to", "")
    assert states("billing") != ["resolved"]


def test_what_is_sent_to_nobody_that_is_known_is_told() -> None:
    send(0)
    err = StringIO()
    arguments = ("billing", "--reason", "renamed", "--to", "acounts")
    call_command("bus_resolve", *arguments, stdout=StringIO(), stderr=err)
    assert "no service 'acounts' has ever registered" in err.getvalue()


def test_broadcasts_for_a_service_that_nobody_knows_are_sent_and_that_is_told() -> None:
    communicator.broadcast("account.closed", {}, priority="CRITICAL")
    communicator.bus.dispatch.flush()
    out, err = StringIO(), StringIO()
    call_command("bus_replay", "--to", "acounts", stdout=out, stderr=err)
    assert out.getvalue() == "1 replayed.\n"
    assert "bus_replay: no service 'acounts' has ever registered" in err.getvalue()
    with pytest.raises(CommandError, match="not a service name") as caught:
        call_command("bus_replay", "--to", "a b")
    assert caught.value.returncode == 2
