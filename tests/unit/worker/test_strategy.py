"""From the broker to the pool: which deliveries begin together with others."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from messaging import MessagePriority, MessagingConfig, ServiceCommunicator
from messaging.custody.run_groups import RunGroups
from messaging.envelope import Envelope, MessageKind
from messaging.models import InboxMessage
from messaging.outcome import HANDLED
from messaging.receiver import Receiver
from messaging.worker import strategy
from tests.unit.custody.test_inbox import critical

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceCommunicator]:
    url, keys = f"sqlite:///{tmp_path}/broker.sqlite3", f"k:{'s' * 40}"
    communicator = ServiceCommunicator(
        "b", config=MessagingConfig(broker_url=url, signing_keys=keys)
    )
    yield communicator
    communicator.close()


def normal(number: int, **changes: Any) -> Envelope:
    return critical(id=f"m{number}", custodian=None, priority=MessagePriority.NORMAL, **changes)


def test_what_a_service_is_not_subscribed_to_has_no_run_and_is_not_kept(
    service: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where messages are signed each of those stayed in memory, and was begun with another."""
    service.on_message("work")(lambda _data: None)
    waiting: list[Callable[[], Any]] = []
    groups = RunGroups("b", 3, records_all=True)
    consumer = SimpleNamespace(
        app=SimpleNamespace(communicator=service),
        pool=SimpleNamespace(submit=lambda run, *_: waiting.append(run)),
        run_groups=groups,
    )
    monkeypatch.setitem(strategy.RECEIVERS, "b", Receiver(service))
    strangers = [normal(n, kind=MessageKind.EVENT, target="", type="gone") for n in range(3)]
    for envelope in (*strangers, normal(3, type="work"), normal(4, type="work")):
        delivery: Any = SimpleNamespace(
            message=SimpleNamespace(headers={}, properties={}, delivery_info={}),
            envelope=envelope,
            consumer=consumer,
            accept=lambda *_: None,
            ended=lambda outcome: outcome,
        )
        strategy._to_thread(delivery)
    assert [run() for run in reversed(waiting)] == [HANDLED] * 5
    groups.flush()
    rows = InboxMessage.objects.order_by("message_id").values_list("message_id", "state")
    assert list(rows) == [("m3", "handled"), ("m4", "handled")]
    assert all(each.is_over for each in groups._waiting)
