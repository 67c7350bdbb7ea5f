"""What recurs: declared by services, made by people, sent once."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.urls import reverse

from gateway_app.handlers import register, send_what_recurs
from gateway_app.models import AuditRecord, RecurringMessage, ServiceInstance
from gateway_app.recurring import sending
from messaging import ServiceCommunicator, codec
from messaging.envelope import Envelope, MessageKind, utc_now
from messaging.models import OutboxMessage, OutboxState
from messaging.registration import RECURRING_DUE
from tests.gateway_app.conftest import Login
from tests.unit.test_codec import an_envelope

pytestmark = pytest.mark.django_db(transaction=True)

HOURLY = {"name": "hourly", "type": "report.create", "to": "billing", "every": 3600.0}


def registers(*recurring: dict[str, Any], instance: str = "one", service: str = "billing") -> None:
    data = {"name": service, "id": instance, "version": "1", "recurring": list(recurring)}
    message: Envelope = an_envelope(
        kind=MessageKind.COMMAND, source=service, created_at=utc_now(), data=data
    )
    register(data, message)


def the_row(**values: Any) -> RecurringMessage:
    return RecurringMessage.objects.get(**values)


def due(row: RecurringMessage) -> None:
    """Say what the gateway says to itself."""
    assert row.next_at is not None
    send_what_recurs({"id": row.pk, "at": row.next_at.isoformat()})


def sent() -> list[OutboxMessage]:
    return list(OutboxMessage.objects.filter(type="report.create").order_by("pk"))


def planned() -> list[OutboxMessage]:
    return list(OutboxMessage.objects.filter(type=RECURRING_DUE).order_by("due_at"))


def test_what_a_service_declares_is_planned_for_its_instant() -> None:
    registers(HOURLY)
    row = the_row()
    assert row.next_at is not None
    assert (row.next_at.minute, row.next_at.second, row.service) == (0, 0, "billing")
    [message] = planned()
    assert message.due_at is not None
    assert abs(message.due_at - row.next_at) < timedelta(seconds=0.1)


def test_it_is_sent_once_whoever_is_told_how_often() -> None:
    registers(HOURLY)
    row = the_row()
    for _ in range(3):
        due(row)
    [message] = sent()
    after = the_row()
    assert (message.target, message.under_custody, after.sent) == ("billing", True, 1)
    assert (after.last_at, after.last_message_id) == (row.next_at, message.message_id)
    assert after.next_at == row.next_at + timedelta(hours=1)  # type: ignore[operator]


def test_what_was_missed_is_sent_once_and_the_next_one_is_to_come() -> None:
    registers(HOURLY)
    RecurringMessage.objects.update(next_at=utc_now() - timedelta(hours=7, minutes=3))
    due(the_row())
    assert len(sent()) == 1
    assert the_row().next_at > utc_now()  # type: ignore[operator]


def test_nothing_is_sent_of_a_transaction_that_is_rolled_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registers(HOURLY)
    row = the_row()

    def fails(*_: Any) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(sending, "send", fails)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        due(row)
    assert the_row().next_at == row.next_at
    monkeypatch.undo()
    due(row)
    assert len(sent()) == 1


def test_one_that_must_not_overlap_is_left_out_while_the_last_is_open() -> None:
    registers({**HOURLY, "overlaps": False})
    for _ in range(2):
        due(the_row())
    assert len(sent()) == 1
    assert (the_row().sent, the_row().left_out) == (1, 1)
    OutboxMessage.objects.filter(type="report.create").update(
        state=OutboxState.HANDLED, due_at=None
    )
    due(the_row())
    assert (the_row().sent, the_row().left_out) == (2, 1)


def test_what_was_lost_on_the_way_is_planned_again() -> None:
    registers(HOURLY)
    RecurringMessage.objects.update(next_at=utc_now() - timedelta(seconds=31))
    assert sending.mend(utc_now()) == 1
    assert sending.mend(utc_now() - timedelta(seconds=20)) == 0


def test_a_changed_declaration_is_planned_anew_and_the_old_plan_does_nothing() -> None:
    registers(HOURLY)
    before = the_row()
    registers({**HOURLY, "every": 7200.0, "data": {"of": "two hours"}}, instance="two")
    assert the_row().every_seconds == 7200.0
    RecurringMessage.objects.update(next_at=the_row().next_at + timedelta(seconds=1))  # type: ignore[operator]
    due(before)
    assert sent() == []


def test_the_same_declaration_again_changes_nothing() -> None:
    registers(HOURLY)
    before = RecurringMessage.objects.values().get()
    registers(HOURLY, instance="two")
    assert RecurringMessage.objects.values().get() == before
    assert len(planned()) == 1


def test_the_newest_running_instance_decides() -> None:
    registers(HOURLY, instance="old")
    registers(instance="new")
    assert not RecurringMessage.objects.exists()
    registers(HOURLY, instance="old")  # the registry had asked for it
    assert not RecurringMessage.objects.exists()
    actions = AuditRecord.objects.order_by("pk").values_list("detail", flat=True)
    assert list(actions) == ["billing/hourly: declared", "billing/hourly: ended"]


def test_what_another_service_declares_is_its_own() -> None:
    registers(HOURLY)
    registers(HOURLY, service="shop", instance="s")
    registers(instance="two")
    assert [row.service for row in RecurringMessage.objects.all()] == ["shop"]


def test_a_broadcast_recurs_as_well() -> None:
    registers({"name": "tick", "type": "report.create", "every": 60.0, "priority": "CRITICAL"})
    due(the_row())
    [message] = sent()
    assert (message.kind, message.target) == ("event", "api-gateway")


def test_a_registration_says_what_its_communicator_declares(monkeypatch: Any) -> None:
    billing = ServiceCommunicator("billing")
    billing.recurring("hourly", "report.create", to="billing", every=3600)
    said: list[Any] = []
    monkeypatch.setattr(
        billing, "send_to_service", lambda *arguments, **_: said.append(arguments[2])
    )
    billing.presence._register()
    registers(*said[0]["recurring"])
    assert the_row().recurrence == billing.recurrences()[0]


@pytest.mark.parametrize(
    "recurring",
    [
        [{"name": "x"}],
        [{**HOURLY, "name": "y", "every": 0}],
        ["x"],
        [{"name": "y", "every": "1h"}],
    ],
)
def test_a_declaration_that_is_wrong_is_left_out_and_no_other(recurring: list[Any]) -> None:
    registers(*recurring, HOURLY)
    assert the_row().name == "hourly"


def test_it_is_said_in_the_name_of_who_declares_it() -> None:
    """So handlers that allow certain senders know whom to ask; nobody speaks for the gateway."""
    registers({**HOURLY, "to": "reports"})
    due(the_row())
    envelope = codec.decode(sent()[0].envelope)
    assert (envelope.source, envelope.custodian) == ("billing", "api-gateway")
    registers({**HOURLY, "to": "api-gateway", "type": "bus.flow.sums"}, instance="two")
    assert not RecurringMessage.objects.exists()


def test_one_that_cannot_be_sent_is_paused_and_holds_up_nobody() -> None:
    registers(HOURLY, {**HOURLY, "name": "another"})
    RecurringMessage.objects.filter(name="hourly").update(timezone="Mars/Olympus")
    for row in RecurringMessage.objects.order_by("pk"):
        due(row)
    assert (the_row(name="hourly").is_paused, the_row(name="another").sent) == (True, 1)
    assert "Mars/Olympus" in AuditRecord.objects.order_by("pk").last().detail  # type: ignore[union-attr]


def test_one_without_a_next_time_gets_one() -> None:
    registers(HOURLY)
    RecurringMessage.objects.update(next_at=None)
    sending.mend(utc_now())
    assert the_row().next_at is not None


RIGHTS = [f"{verb}_recurringmessage" for verb in ("add", "change", "view", "delete")]
ASKED = {
    "name": "nightly",
    "type": "report.create",
    "target": "billing",
    "data_json": '{"a": 1}',
    "priority": "HIGH",
    "every_seconds": "",
    "cron": "0 3 * * *",
    "timezone": "Europe/Berlin",
    "expires_in_seconds": "",
    "overlaps": "on",
}


def test_people_make_change_pause_and_end_them_in_the_admin(login: Login) -> None:
    client = login(*RIGHTS)
    add = reverse("admin:gateway_app_recurringmessage_add")
    assert client.post(add, ASKED).status_code == 302
    row = the_row()
    assert row.recurrence.data == {"a": 1}
    assert len(planned()) == 1
    change = reverse("admin:gateway_app_recurringmessage_change", args=[row.pk])
    assert client.get(change).status_code == 200
    assert client.post(change, {**ASKED, "is_paused": "on"}).status_code == 302
    assert the_row().next_at is None
    page = reverse("admin:gateway_app_recurringmessage_changelist")
    selected = {"_selected_action": [row.pk]}
    client.post(page, {**selected, "action": "resume"})
    assert the_row().next_at is not None
    client.post(page, {**selected, "action": "send_now"})
    assert [message.priority for message in sent()] == ["HIGH"]
    assert "0 3 * * * Europe/Berlin" in client.get(page).content.decode()
    end = reverse("admin:gateway_app_recurringmessage_delete", args=[row.pk])
    assert client.post(end, {"post": "yes"}).status_code == 302
    assert not RecurringMessage.objects.exists()
    said = AuditRecord.objects.order_by("pk").values_list("detail", flat=True)
    words = [each.partition(": ")[2] for each in said]
    assert words == ["made", "changed", "resumed", "sent at once", "ended"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cron": "hourly"}, "five fields"),
        ({"data_json": "{"}, "not JSON"),
        ({"every_seconds": "60"}, "one of the two"),
        ({"type": "no type"}, "words joined by dots"),
        ({"timezone": "Berlin"}, "Europe/Berlin"),
        ({"type": "bus.flow.sums"}, "none of the library"),
    ],
)
def test_what_is_wrong_is_said_in_the_admin(
    login: Login, changes: dict[str, str], said: str
) -> None:
    client = login(*RIGHTS)
    response = client.post(reverse("admin:gateway_app_recurringmessage_add"), ASKED | changes)
    assert response.status_code == 200
    assert said in response.content.decode()


def test_what_a_service_declares_people_may_only_pause(login: Login) -> None:
    registers(HOURLY)
    client = login(*RIGHTS)
    change = reverse("admin:gateway_app_recurringmessage_change", args=[the_row().pk])
    client.post(change, {"is_paused": "on", "type": "another.type"})
    assert (the_row().is_paused, the_row().next_at, the_row().type) == (
        True,
        None,
        "report.create",
    )
    end = reverse("admin:gateway_app_recurringmessage_delete", args=[the_row().pk])
    assert client.post(end, {"post": "yes"}).status_code == 403
    registers(HOURLY, instance="two")
    assert the_row().is_paused


def test_two_of_one_name_are_refused_in_the_admin(login: Login) -> None:
    client = login(*RIGHTS)
    add = reverse("admin:gateway_app_recurringmessage_add")
    client.post(add, ASKED)
    assert "Another one has this name" in client.post(add, ASKED).content.decode()
    assert RecurringMessage.objects.count() == 1


def test_what_a_service_declared_that_is_gone_can_be_ended(login: Login) -> None:
    registers(HOURLY)
    client = login(*RIGHTS)
    end = reverse("admin:gateway_app_recurringmessage_delete", args=[the_row().pk])
    assert client.post(end, {"post": "yes"}).status_code == 403
    ServiceInstance.objects.update(left_at=utc_now())
    assert client.post(end, {"post": "yes"}).status_code == 302
    assert not RecurringMessage.objects.exists()


def test_saving_leaves_what_workers_count(login: Login) -> None:
    client = login(*RIGHTS)
    client.post(reverse("admin:gateway_app_recurringmessage_add"), ASKED)
    RecurringMessage.objects.update(sent=7)
    change = reverse("admin:gateway_app_recurringmessage_change", args=[the_row().pk])
    client.post(change, {**ASKED, "cron": "0 4 * * *"})
    assert (the_row().sent, the_row().cron) == (7, "0 4 * * *")
