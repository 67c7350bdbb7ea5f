"""What a service's author can say with the harness, and what it says back."""

import random
from typing import Any

import pytest
from django.db import transaction

from messaging import (
    BrokerUnavailable,
    ConfigurationError,
    Reject,
    RemoteError,
    RequestTimeout,
    Retry,
    RetryPolicy,
    ServiceCommunicator,
    ServiceNotFound,
)
from messaging.envelope import Envelope, utc_now
from messaging.models import InboxMessage
from messaging.publisher import Addressed
from messaging.testing import Harness, HarnessError, stage
from messaging.wire import WireMessage
from services.user.models import User

#: A ladder of ten attempts, from a minute to two hours apart.
LADDER = RetryPolicy(
    immediate=1, delayed=9, base_seconds=60, factor=3, cap_seconds=7200, floor_seconds=60
)


def make_user(message: Envelope) -> None:
    User.objects.create(id=random.getrandbits(40), name=message.id, email="", country="FR")


@pytest.mark.django_db
def test_settings_may_differ_from_those_of_the_project(billing: ServiceCommunicator) -> None:
    billing.on_message("poison")(lambda _data: None)
    with Harness(max_worker_deaths=1) as bus:
        bus.service(billing)
        bus.crash("billing", during="poison")
        bus.send("billing", "poison", priority="CRITICAL")
        bus.advance("1m")
        assert bus.parked("poison", reason="killed_worker").once


@pytest.fixture
def billing() -> ServiceCommunicator:
    return ServiceCommunicator("billing", version="1")


def test_ten_attempts_over_hours(bus: Harness, billing: ServiceCommunicator) -> None:
    """What it costs: `tests.unit.test_cost`."""
    attempts = []

    @billing.on_message("invoice.create", retry=LADDER)
    def create(_data: Any, message: Envelope) -> None:
        attempts.append((message.attempt, bus.now()))
        if message.attempt < 10:
            raise ValueError("the tax office is closed")

    bus.service(billing)
    bus.send("billing", "invoice.create", {"id": 7})
    bus.advance("24h")
    assert [number for number, _ in attempts] == list(range(1, 11))
    hours = (attempts[9][1] - attempts[0][1]).total_seconds() / 3600
    assert 0.15 <= hours <= 18
    assert bus.failed("invoice.create").times(9)
    assert bus.handled("invoice.create").once
    assert not bus.unaccounted()


def test_without_a_database_what_needs_none_is_handled_and_what_needs_one_says_so(
    bus_without_database: Harness, billing: ServiceCommunicator
) -> None:
    @billing.on_message("note")
    def note(data: Any) -> None:
        if data.get("fails"):
            raise ValueError("no")

    bus = bus_without_database
    bus.service(billing)
    bus.send("billing", "note", {"id": 1})
    assert bus.handled("note").only.data == {"id": 1}
    with pytest.raises(HarnessError, match="`bus_without_database` has none"):
        bus.send("billing", "note", {"fails": True})


@pytest.mark.parametrize("moment", ["before", "during", "after"])
@pytest.mark.parametrize("priority", ["NORMAL", "CRITICAL"])
def test_a_crash_anywhere_leaves_one_effect_of_an_atomic_handler(
    bus: Harness, billing: ServiceCommunicator, moment: str, priority: str
) -> None:
    runs = []

    @billing.on_message("invoice.create", atomic=True)
    def create(_data: Any, message: Envelope) -> None:
        runs.append(message.id)
        make_user(message)

    bus.service(billing)
    bus.crash("billing", **{moment: "invoice.create"})  # type: ignore[arg-type]
    message_id = bus.send("billing", "invoice.create", priority=priority)
    assert bus.crashed("invoice.create").once
    assert User.objects.filter(name=message_id).count() == 1
    assert len(runs) == (2 if moment == "during" else 1)
    assert not bus.unaccounted()
    # What had come to its end before is not handled again.
    assert bus.handled("invoice.create").once


def test_a_message_that_kills_every_worker_is_parked(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    billing.on_message("poison")(lambda _data: None)
    bus.service(billing)
    bus.crash("billing", during="poison", times=3)
    bus.send("billing", "poison", priority="CRITICAL")
    bus.advance("2m")
    assert bus.crashed().times(3)
    assert bus.parked("poison", reason="killed_worker").once
    assert bus.dead_letters()[0].message_id == bus.sent("poison").only.message_id


def test_what_an_ack_was_lost_of_comes_again_and_is_handled_once_where_that_is_promised(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    billing.on_message("kept")(lambda _data: None)
    bus.service(billing)
    bus.duplicate("kept")
    bus.send("billing", "kept", priority="CRITICAL")
    assert bus.handled("kept").once
    bus.duplicate("kept")
    bus.send("billing", "kept")  # NORMAL: at least once
    assert bus.handled("kept").times(3)


def test_a_sender_that_is_not_told_sends_again_and_nothing_happens_twice(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    billing.on_message("kept")(lambda _data: None)
    bus.service(billing)
    with bus.drop_receipts("billing"):
        bus.send("billing", "kept", priority="CRITICAL")
        bus.advance("5m")
        assert [fact.at for fact in bus.facts("kept", kind="published")] == pytest.approx(
            [0, 30, 90, 210], abs=1
        )
        assert bus.handled("kept").once
    bus.advance("20m")
    assert bus.handled("kept").once
    assert not bus.unaccounted()


def test_while_the_broker_is_down_normal_and_up_are_kept_and_low_is_refused(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    billing.on_message("work")(lambda _data: None)
    bus.service(billing)
    with bus.broker_down():
        for priority in ("NORMAL", "HIGH", "CRITICAL"):
            bus.send("billing", "work", {"priority": priority}, priority=priority)
        with pytest.raises(BrokerUnavailable):
            bus.send("billing", "work", priority="LOW")
        bus.advance("1h")
        assert bus.handled("work").never
        assert bus.sent("work").times(3)
        assert not bus.unaccounted()
    assert bus.handled("work").times(3)


def test_a_broker_that_loses_all_loses_no_critical_message(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    billing.on_message("work")(lambda _data: None)
    bus.service(billing)
    bus.stop("billing")
    for priority in ("NORMAL", "CRITICAL"):
        bus.send("billing", "work", {"priority": priority}, priority=priority)
    bus.wipe_broker()
    bus.start("billing")
    bus.advance("1m")
    assert bus.handled("work").only.data == {"priority": "CRITICAL"}
    assert [fact.data for fact in bus.unaccounted()] == [{"priority": "NORMAL"}]


def test_a_service_that_asks_in_its_handler_gets_its_answer(bus: Harness) -> None:
    shop, stock, prices = (ServiceCommunicator(name) for name in ("shop", "stock", "prices"))

    @shop.on_message("order")
    async def order(data: Any) -> Any:
        left = await shop.request_async("stock", "count", data)
        return {"left": left, "known": await User.objects.acount()}

    @stock.on_message("count")
    def count(data: Any) -> Any:
        return {"item": data["item"], "price": stock.request("prices", "price", data)}

    @prices.on_message("price")
    async def price(_data: Any) -> int:
        return 5

    for service in (shop, stock, prices):
        bus.service(service)
    User.objects.create(id=1, name="in the test's transaction", email="", country="FR")
    answer = bus.request("shop", "order", {"item": "pen"})
    assert answer == {"left": {"item": "pen", "price": 5}, "known": User.objects.count()}
    chain = [bus.sent(type).only for type in ("order", "count", "price")]
    assert [fact.causation_id for fact in chain] == [None, *(f.message_id for f in chain[:2])]
    assert len({fact.correlation_id for fact in chain}) == 1


def test_requests_fail_as_in_life_and_the_time_they_wait_passes(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    @billing.on_message("ask")
    def answer(_data: Any) -> None:
        raise Reject("no such invoice", code="not_found")

    with pytest.raises(ServiceNotFound):
        bus.request("billing", "ask")
    bus.service(billing)
    with pytest.raises(RemoteError, match="no such invoice") as caught:
        bus.request("billing", "ask")
    assert caught.value.code == "not_found"
    bus.stop("billing")
    before = utc_now()
    with pytest.raises(RequestTimeout):
        bus.request("billing", "ask", timeout=7)
    assert (utc_now() - before).total_seconds() == pytest.approx(7, abs=0.01)
    bus.start("billing")
    assert bus.failed("ask").once  # the second one has expired with its asker's patience


def test_a_broadcast_reaches_who_is_subscribed_critical_also_who_is_down(bus: Harness) -> None:
    for name, pattern in (("mail", "user.*"), ("audit", "#"), ("other", "order.#")):
        service = ServiceCommunicator(name)
        service.on_message(pattern)(lambda _data: None)
        bus.service(service)
    bus.stop("audit")
    bus.broadcast("user.renamed", {"id": 1})
    bus.broadcast("user.renamed", {"id": 2}, priority="CRITICAL")
    assert bus.handled("user.renamed", service="mail").data == [{"id": 1}, {"id": 2}]
    bus.start("audit")
    assert bus.handled("user.renamed", service="audit").times(2)
    assert bus.handled("user.renamed").times(4)
    assert bus.sent("user.renamed").times(2)
    assert bus.handled(service="other").never
    assert not bus.unaccounted()


def test_critical_is_sent_with_the_commit_and_not_at_all_with_a_rollback(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    billing.on_message("work")(lambda _data: None)
    bus.service(billing)
    with transaction.atomic():
        bus.send("billing", "work", {"n": 1}, priority="CRITICAL")
        assert bus.sent("work").never
    bus.settle()
    assert bus.handled("work").only.data == {"n": 1}
    with transaction.atomic():
        bus.send("billing", "work", {"n": 2}, priority="CRITICAL")
        transaction.set_rollback(True)
    bus.advance("1d")
    assert bus.sent("work").once
    assert bus.handled("work").once


@pytest.mark.django_db(transaction=True)
def test_in_a_test_that_commits_it_is_the_same(bus: Harness, billing: ServiceCommunicator) -> None:
    billing.on_message("work", atomic=True)(lambda _data, message: make_user(message))
    bus.service(billing)
    bus.crash("billing", during="work")
    with transaction.atomic():
        message_id = bus.send("billing", "work", priority="CRITICAL")
        assert bus.handled("work").never
    bus.settle()
    assert bus.handled("work").once
    assert User.objects.filter(name=message_id).count() == 1
    assert InboxMessage.objects.get(message_id=message_id).state == "handled"


async def send_critical(communicator: ServiceCommunicator) -> None:
    communicator.send_to_service("billing", "work", priority="CRITICAL")


def test_an_async_handler_that_needs_a_connection_of_its_own_says_how_it_can_have_one(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    billing.on_message("begin")(lambda _data: None)

    @billing.on_message("go")
    async def go(_data: Any) -> None:
        await send_critical(billing)

    bus.service(billing)
    with pytest.raises(HarnessError, match=r"django_db\(transaction=True\)"):
        bus.send("billing", "go")


@pytest.mark.django_db(transaction=True)
def test_in_a_test_that_commits_an_async_handler_sends_what_it_likes(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    billing.on_message("work")(lambda _data: None)

    @billing.on_message("go")
    async def go(_data: Any) -> None:
        await send_critical(billing)

    bus.service(billing)
    bus.send("billing", "go")
    assert bus.handled("work").once
    assert not bus.unaccounted()


def test_delays_expiry_and_retry_keep_their_times(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    @billing.on_message("work")
    def work(data: Any, message: Envelope) -> None:
        if data.get("later") and message.attempt == 1:
            raise Retry(90)

    bus.service(billing)
    bus.send("billing", "work", {"n": 1}, delay=3600)
    bus.send("billing", "work", {"later": True})
    bus.stop("billing")
    bus.send("billing", "work", {"n": 2}, expires_in=60)
    bus.advance("61s")
    bus.start("billing")
    bus.advance("2h")
    assert bus.handled("work", data={"n": 1}).only.at == pytest.approx(3600, abs=1)
    assert bus.handled("work", data={"later": True}).only.at == pytest.approx(90, abs=1)
    assert bus.parked("work", reason="expired").only.data == {"n": 2}


def test_a_failed_assertion_says_what_there_was_instead(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    @billing.on_message("invoice.create", retry=RetryPolicy(immediate=1, delayed=0))
    def create(_data: Any) -> None:
        raise ValueError("no money")

    bus.service(billing)
    bus.send("billing", "invoice.create", {"id": 7})
    bus.send("ledger", "entry.add")
    with pytest.raises(AssertionError) as caught:
        assert bus.handled("invoice.create").once
    assert str(caught.value) == (
        "expected exactly one handled invoice.create, found 0.\n"
        "What happened:\n"
        '  0s: tester sent invoice.create to billing {"id": 7}\n'
        "  0s: billing: attempt 1 of invoice.create failed: ValueError: no money\n"
        "  0s: billing parked invoice.create: attempts_exhausted: ValueError: no money\n"
        "What waits:\n"
        "  1 in the queue of ledger: bus.service(…) would run it"
    )
    assert "entry.add to ledger" in repr(bus.handled("unheard.of"))


def test_mistakes_of_a_test_are_told_with_what_to_do(
    bus: Harness, billing: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "MOST_ROUNDS", 50)

    @billing.on_message("loop")
    def loop(_data: Any) -> None:
        billing.send_to_service("billing", "loop")

    bus.service(billing)
    with pytest.raises(HarnessError, match="billing handles no 'store'; it handles loop"):
        bus.crash("billing", during="store")
    with pytest.raises(HarnessError, match="expected one of before=, during= or after="):
        bus.crash("billing", during="loop", after="loop")
    with pytest.raises(HarnessError, match=r"'mail' is not run here: bus.service\(…\) first"):
        bus.stop("mail")
    with pytest.raises(ValueError, match="'1h30m', got '5 minutes'"):
        bus.advance("5 minutes")
    with pytest.raises(HarnessError, match="no rest after 50 rounds of deliveries"):
        bus.send("billing", "loop")
    own = ServiceCommunicator("own", config=billing.config)
    with pytest.raises(HarnessError, match="own was made with settings of its own"):
        bus.service(own)


def test_afterwards_everybody_speaks_to_the_real_broker_again_at_the_real_time(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    inside = bus.service(billing).bus
    bus.advance("7d")
    assert inside.config.broker_url.startswith("memory-bus://")
    early = utc_now()
    bus.__exit__(None, None, None)
    with pytest.raises(HarnessError, match="is not open"):
        bus.send("billing", "work")
    assert utc_now() < early
    assert billing.bus is not inside
    assert billing.bus.config.broker_url == billing.config.broker_url


@pytest.mark.django_db
def test_signed_messages_are_checked_as_in_production(billing: ServiceCommunicator) -> None:
    billing.on_message("ask")(lambda data: data)
    billing.on_message("work", atomic=True)(lambda _data: None)
    with Harness(signing_keys=f"k@tester:{'s' * 40},b@billing:{'t' * 40}") as bus:
        bus.service(billing)
        assert bus.request("billing", "ask", 5) == 5
        bus.duplicate("work")
        bus.send("billing", "work")
        assert bus.handled("work").once
        with pytest.raises(ConfigurationError, match="stranger"):
            bus.speaker("stranger").send_to_service("billing", "work")


def test_the_gateway_is_asked_who_is_there(bus: Harness, billing: ServiceCommunicator) -> None:
    billing.on_message("invoice.*")(lambda _data: None)
    bus.service(billing)
    found = bus.speaker("shop").discover("billing")
    assert (found["state"], found["subscriptions"]) == ("UP", ["invoice.*"])
    with pytest.raises(RemoteError, match="there is no service 'mail'"):
        bus.speaker("shop").discover("mail")


def test_callbacks_on_commit_are_called_as_in_production(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    @billing.on_message("work", atomic=True)
    def work(data: Any) -> None:
        transaction.on_commit(lambda: billing.broadcast("work.done", data))

    bus.service(billing)
    bus.send("billing", "work", {"n": 1})
    assert bus.sent("work.done").only.data == {"n": 1}


def test_what_cannot_be_read_is_parked_with_the_reason(
    bus: Harness, billing: ServiceCommunicator
) -> None:
    billing.on_message("work")(lambda _data: None)
    bus.service(billing)
    with billing.bus.publisher() as publisher:
        message = WireMessage("no JSON", {"task": "messaging.deliver"}, {}, priority=3)
        publisher.publish(Addressed(message, "", "billing"))
    bus.settle()
    assert bus.parked(reason="invalid").once
    assert bus.dead_letters()[0].raw_body == b"no JSON"
