"""Forgetting what is long over, in batches, and remembering how far back that goes."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Max, Q

from messaging.clock import BUS_CLOCK
from messaging.config import MessagingConfig
from messaging.custody import failed_rounds, outbox, seen
from messaging.database_threads import write_transaction
from messaging.envelope import MessagePriority, utc_now
from messaging.models import DedupHorizon, InboxMessage, InboxState

#: Rows of one transaction: some tens of milliseconds of the write lock.
BATCH: Final = 1000
#: How often each relay looks for something to forget.
INTERVAL_SECONDS: Final = 3600.0
#: Parked messages stay with their dead letters; beyond this they are forgotten all the same.
PARKED_DAYS: Final = 90.0
#: What is remembered for ``dedup_days``, and has a horizon of its own.
_IN_CUSTODY: Final = Q(priority=MessagePriority.CRITICAL) | ~Q(custodian="")


class Retention:
    """One relay's turns of forgetting, an hour apart, a batch at a time."""

    def __init__(self, config: MessagingConfig) -> None:
        self._config = config
        self._at = BUS_CLOCK.monotonic() + INTERVAL_SECONDS
        self._work: Iterator[int] | None = None

    def turn(self) -> None:
        """Forget one batch if it is time."""
        if self._work is None:
            if BUS_CLOCK.monotonic() < self._at:
                return
            self._work = purge(self._config, utc_now())
        if next(self._work, None) is None:
            self._work = None
            self._at = BUS_CLOCK.monotonic() + INTERVAL_SECONDS


def purge(config: MessagingConfig, now: datetime) -> Iterator[int]:
    """Delete what is older than the settings say; yield after each batch how many rows went."""
    payload_until = now - timedelta(days=config.retention_days)
    while gone := outbox.purge(payload_until, BATCH):
        yield gone
    critical_until = now - timedelta(days=config.dedup_days)
    ended = Q(state__in=(InboxState.HANDLED, InboxState.EXPIRED))
    for until, rows in (
        (critical_until, ended & _IN_CUSTODY),
        (payload_until, ended & ~_IN_CUSTODY),
        (now - timedelta(days=PARKED_DAYS), Q(state=InboxState.PARKED)),
    ):
        # created_at as well: a sender whose clock ran ahead must not push the horizon there.
        old = rows & Q(finished_at__lt=until, created_at__lt=until, owes_receipt=False)
        for ids in _batches(old):
            yield _forget(old, ids)
    while gone := failed_rounds.forget(payload_until, BATCH):
        yield gone
    while gone := seen.forget(now, BATCH):
        yield gone
    while gone := _forget_abandoned(now):
        yield gone
    # What ended long ago and is remembered for duplicates only.
    old = ~Q(envelope="") & ~Q(state=InboxState.PARKED) & Q(finished_at__lt=payload_until)
    for ids in _batches(old):
        yield InboxMessage.objects.filter(old, pk__in=ids).update(envelope="")


def _batches(rows: Q) -> Iterator[list[int]]:
    """Yield ids of rows that have ended, a batch at a time; each is gone before the next.

    Read outside of any transaction, and on from where the last batch was: however much is
    remembered between them, nobody who writes waits for that.
    """
    since = Q()
    while True:
        found = InboxMessage.objects.filter(rows, since).order_by("finished_at")
        batch = list(found.values_list("pk", "finished_at")[:BATCH])
        if not batch:
            return
        yield [pk for pk, _ in batch]
        since = Q(finished_at__gte=batch[-1][1])


def _forget(rows: Q, ids: list[int]) -> int:
    """Delete a batch and move the horizon over it, in one transaction; return how many went."""
    # As they were found: one may have been reopened meanwhile.
    batch = InboxMessage.objects.filter(rows, pk__in=ids)
    with write_transaction(to_disk=False):
        said = batch.values("service", "source").order_by()
        for row in said.annotate(
            newest=Max("created_at"), in_custody=Max("created_at", filter=_IN_CUSTODY)
        ):
            _move_horizon(**row)
        return batch.delete()[0]


def _move_horizon(
    service: str, source: str, newest: datetime, in_custody: datetime | None
) -> None:
    horizon, is_new = DedupHorizon.objects.get_or_create(
        service=service,
        source=source,
        defaults={"purged_upto": newest, "custody_purged_upto": in_custody},
    )
    if is_new:
        return
    known = DedupHorizon.objects.filter(pk=horizon.pk)
    known.filter(purged_upto__lt=newest).update(purged_upto=newest)
    if in_custody is not None:
        known.filter(Q(custody_purged_upto=None) | Q(custody_purged_upto__lt=in_custody)).update(
            custody_purged_upto=in_custody
        )


def _forget_abandoned(now: datetime) -> int:
    """Delete rows of messages that only the broker had, and has not delivered again for long."""
    ids = list(
        InboxMessage.objects.filter(
            due_at__lt=now, envelope="", state=InboxState.READY
        ).values_list("pk", flat=True)[:BATCH]
    )
    # The state once more: a delivery may have taken it meanwhile.
    return InboxMessage.objects.filter(
        pk__in=ids, envelope="", state=InboxState.READY, due_at__lt=now
    ).delete()[0]
