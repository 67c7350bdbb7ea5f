"""What receipts say of a target's progress, whatever the clock did meanwhile."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from messaging import MessagingConfig, ServiceCommunicator
from messaging.custody import due, outbox
from messaging.custody.targets import Targets
from messaging.envelope import utc_now
from messaging.models import OutboxMessage, OutboxState
from tests.unit.custody.test_outbox import a_command

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def communicator(tmp_path: Path) -> Iterator[ServiceCommunicator]:
    config = MessagingConfig(broker_url=f"sqlite:///{tmp_path}/broker.sqlite3")
    communicator = ServiceCommunicator("sender", config=config)
    yield communicator
    communicator.close()


@pytest.mark.parametrize(("ahead", "publishes"), [(-1.0, True), (3600.0, False)])
def test_a_receipt_from_a_clock_that_has_jumped_back_overtakes_nothing(
    communicator: ServiceCommunicator,
    monkeypatch: pytest.MonkeyPatch,
    ahead: float,
    publishes: bool,
) -> None:
    now, minute = utc_now(), timedelta(seconds=60)
    for message_id in ("waits", "told"):
        outbox.store(a_command(id=message_id), under_custody=True)
    rows = OutboxMessage.objects.all()
    rows.update(state=OutboxState.PUBLISHED, first_published_at=now - minute, publishes=1)
    rows.update(published_at=now - minute)
    told_at = now + timedelta(seconds=ahead)
    rows.filter(message_id="told").update(
        state=OutboxState.HANDLED, due_at=None, told_at=told_at, first_published_at=told_at
    )
    targets = Targets(communicator.bus)
    monkeypatch.setattr(targets, "queue_length", lambda _service: 1)
    (row,) = due.claim_due(now + minute)
    assert targets.decide(row, now).publishes is publishes
