"""What whoever sends by hand is told: where the message is, or that nothing was sent, and why."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from gateway_app import bus
from gateway_app.models import Service
from messaging import MessageBus, MessagingConfig
from messaging.envelope import utc_now
from messaging.models import OutboxMessage
from tests.support.brokers import BROKERS, require

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    use("amqp://guest:secret@127.0.0.1:1//", monkeypatch)
    yield
    bus.communicator.close()


def use(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        bus.communicator.__dict__, "bus", MessageBus(MessagingConfig(broker_url=url))
    )


def told(*arguments: str) -> str:
    """Return what a command that does its work writes to stderr."""
    err = StringIO()
    call_command(*arguments, stdout=StringIO(), stderr=err)
    return err.getvalue()


def failed(*arguments: str) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        call_command(*arguments, stdout=StringIO())
    assert "\n" not in str(caught.value)
    return caught.value.returncode, str(caught.value)


@pytest.mark.usefixtures("broker_away")
@pytest.mark.parametrize("priority", ["NORMAL", "HIGH", "CRITICAL"])
def test_a_message_that_waits_in_this_database_for_its_broker_is_told(priority: str) -> None:
    """An id and exit code 0 looked as if it were on its way."""
    Service.objects.create(name="billing")
    text = told("bus_send", "billing", "work", "--priority", priority)
    assert text.startswith("bus_send: the broker at amqp://guest:**@127.0.0.1:1// did not take it")
    assert "waits in this database" in text
    assert text.count("\n") == 1
    assert OutboxMessage.objects.count() == 1


@pytest.mark.usefixtures("broker_away")
def test_a_broadcast_that_waits_is_told_and_what_is_delayed_waits_as_it_should() -> None:
    assert "waits in this database" in told("bus_broadcast", "account.closed")
    assert told("bus_broadcast", "account.closed", "--delay", "60") == ""


@pytest.mark.usefixtures("broker_away")
@pytest.mark.parametrize(
    "arguments",
    [("bus_send", "b", "work", "--priority", "LOW"), ("bus_request", "b", "work")],
)
def test_what_is_not_sent_names_the_broker_that_is_away_and_nothing_else_is_said(
    arguments: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    code, text = failed(*arguments)
    assert code == 1
    assert "the broker at amqp://guest:**@127.0.0.1:1// is away, and nothing was sent" in text
    assert "sending it again is safe" in text
    assert caplog.messages == []


def test_a_broker_that_refuses_the_login_is_wrong_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    require(BROKERS["amqp"])
    use("amqp://guest:wrong@127.0.0.1:5672//", monkeypatch)
    code, text = failed("bus_send", "b", "work", "--priority", "LOW")
    assert code == 2
    assert "the broker refuses the login" in text
    assert "nothing was sent" in text


def test_a_database_without_tables_is_told_with_what_makes_them(
    own_broker: MessageBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_down(_service: str) -> bool:
        raise OperationalError("no such table: gateway_app_service")

    monkeypatch.setattr(own_broker, "is_down", is_down)
    code, text = failed("bus_send", "b", "work", "--priority", "CRITICAL")
    assert code == 2
    assert text.endswith("nothing was sent: run manage.py migrate")


def test_an_instant_that_is_past_is_told() -> None:
    Service.objects.create(name="billing")
    text = told("bus_send", "billing", "work", "--at", "2020-01-01T00:00+00:00")
    assert text == "bus_send: 2020-01-01T00:00:00+00:00 is past; it is not waited for\n"
    tomorrow = utc_now() + timedelta(days=1)
    assert told("bus_send", "billing", "work", "--at", tomorrow.isoformat()) == ""
