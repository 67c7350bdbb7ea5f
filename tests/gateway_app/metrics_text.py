"""A bus on which something happened, and what its metrics say of it."""

from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from gateway_app import registry
from gateway_app.flow import queues, summaries
from gateway_app.http import metrics
from gateway_app.models import QueuePause, RegistryStatus, Service, ServiceInstance
from messaging import MessageBus, MessagePriority, ServiceCommunicator
from messaging.custody import outbox
from messaging.deadletter import DeadLetterReason
from messaging.envelope import MessageKind, utc_now
from messaging.models import InboxMessage, OutboxMessage
from tests.gateway_app.deadletters.letters import park
from tests.gateway_app.flow.test_flow import NOW, a_row, keep
from tests.gateway_app.registry.test_registry import a_registration
from tests.unit.test_codec import an_envelope

Labels = frozenset[tuple[str, str]]


def parsed(text: str) -> dict[tuple[str, Labels], float]:
    """Return every sample of a text of metrics, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape() -> dict[tuple[str, Labels], float]:
    """Return what this process tells now."""
    return parsed(metrics.render().decode())


def value(samples: dict[tuple[str, Labels], float], name: str, **labels: str) -> float:
    """Return one sample."""
    return samples[name, frozenset(labels.items())]


def flow_more() -> None:
    """Have billing handle three messages, one of them in vain, and sum that up."""
    keep("billing", [a_row()], NOW)
    summaries.add_up(NOW)


def send_critical(message_id: str, age: timedelta = timedelta(0)) -> None:
    """Put a CRITICAL message for billing on record, sent so long ago."""
    at = utc_now() - age
    outbox.store(
        an_envelope(
            id=message_id,
            kind=MessageKind.COMMAND,
            priority=MessagePriority.CRITICAL,
            generation=0,
            target="billing",
            reply_to=None,
            expires_at=None,
            created_at=at,
            custodian="shop",
        ),
        under_custody=True,
    )
    OutboxMessage.objects.filter(message_id=message_id).update(created_at=at, due_at=at)


def happen(bus: MessageBus) -> None:
    """Have something of everything that is measured."""
    now = utc_now()
    for name in ("billing", "shop"):
        registry.register(a_registration(name, f"{name}-1"), said_at=now, now=now)
    ServiceInstance.objects.filter(service__name="shop").update(state="DOWN")
    RegistryStatus.objects.update(swept_at=now)
    shop = Service.objects.get(name="shop")
    QueuePause.objects.create(service=shop, since=now, actor="anna", reason="it")
    flow_more()
    park("dead-1", service="billing")
    park("dead-2", service="billing", reason=DeadLetterReason.INVALID)
    send_critical("critical", timedelta(minutes=10))
    held = OutboxMessage.objects.create(
        message_id="held",
        target="shop",
        source="billing",
        type="t",
        kind="command",
        priority="NORMAL",
        urgency=1,
        created_at=now,
        envelope="",
        under_custody=True,
        state="pending",
        due_at=now + timedelta(minutes=1),
    )
    OutboxMessage.objects.filter(pk=held.pk).update(held_at=now)
    InboxMessage.objects.create(
        message_id="again",
        service="billing",
        source="shop",
        type="t",
        priority="HIGH",
        created_at=now,
        state="waiting",
        due_at=now + timedelta(minutes=1),
    )
    sender = ServiceCommunicator("shop", config=bus.config)
    sender.send_to_service("billing", "order", {}, priority="HIGH")
    queues.look(bus, now)
    sender.close()
    counter, seconds = metrics.of_route("billing", "GET", "/api/billing", 200)
    counter.inc()
    seconds.observe(0.1)
    metrics.UPSTREAM_FAILURES.labels("billing").inc()
