"""How an instance's row changes: by one guarded UPDATE, with all that follows from a new state.

The UPDATE names the facts it was decided on and changes nothing if another process was faster, so
any number of workers may handle messages about one instance at the same time, and each change of
state is on record once.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

from django.db import transaction
from django.db.models import OuterRef, QuerySet

from gateway_app import held
from gateway_app.models import SERVING, HealthRecord, Service, ServiceInstance, State
from gateway_app.registry import revisions
from gateway_app.registry.offers import settle
from gateway_app.registry.verdicts import Verdict, judge
from messaging.apps import configured
from messaging.events import emit, service_state_changed

logger = logging.getLogger(__name__)

#: What a verdict rests on, besides the time.
FACTS: Final = (
    "state",
    "heard",
    "maintenance_until",
    "probe_failures",
    "wedged",
    "checks_json",
    "left_at",
)
#: Changes of facts that leave the state alone are written so many to a transaction: each commit
#: costs a write to the disk, and a longer one would keep SQLite's other writers waiting.
BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Step:
    """New facts about one instance."""

    #: As it was read; the step is taken only if its facts are still these.
    instance: ServiceInstance
    #: Cause of a state in which nothing is wrong, text for people. Other states say what is.
    healed: str
    #: New values by field.
    changes: Mapping[str, Any]

    def verdict(self, now: datetime) -> Verdict:
        """Return the state that follows."""
        after = copy(self.instance)
        for field, value in self.changes.items():
            setattr(after, field, value)
        if after.maintenance_until is not None:
            # It ends when a sweep ends it: the state that follows shall have that cause.
            now = min(now, after.maintenance_until - timedelta.resolution)
        return judge(after, now, probe_failures=configured().probe_failures)

    def is_quiet(self, now: datetime) -> bool:
        """Return whether the state stays."""
        return self.verdict(now).state == self.instance.state

    def write(self, **more: Any) -> bool:
        """Update the row; return whether its facts were still those of the step."""
        return bool(_unchanged(self.instance, self.changes).update(**self.changes, **more))


class ServiceChange:
    """One transaction that changes instances of one service. Made by `changing`."""

    def __init__(self, service: Service, now: datetime) -> None:
        #: Locked until the transaction ends.
        self.service = service
        self._now = now
        self._served = serving(service.pk).exists()
        self._is_touched = False
        #: Whether an instance went away, and with it what only it has offered.
        self._has_parted = False
        self._records: list[HealthRecord] = []

    def take(self, step: Step) -> bool:
        """Write new facts and the state that follows, with a record if it is another.

        Returns:
            False: somebody else has changed the instance since it was read, and nothing was done.
        """
        previous, verdict = step.instance.state, step.verdict(self._now)
        if not step.write(state=verdict.state):
            return False
        if verdict.state != previous or "left_at" in step.changes:
            self.record(step.instance, previous, verdict.state, verdict.cause or step.healed)
        self._has_parted = self._has_parted or step.changes.get("left_at") is not None
        return True

    def forget(self, instance: ServiceInstance, cause: str) -> bool:
        """Remove an instance, unless somebody else has changed it since it was read."""
        removed, _ = _unchanged(instance, {"heard": None}).delete()
        if removed:
            self._has_parted = True
            self.record(instance, instance.state, State.UNKNOWN, f"forgotten: {cause}")
        return bool(removed)

    def record(self, instance: ServiceInstance, previous: str, state: State, cause: str) -> None:
        """Put on record that an instance is in another state now; it is already."""
        self.touch()
        self._records.append(
            HealthRecord.objects.create(
                service=self.service,
                instance_id=instance.instance_id,
                previous_state=previous,
                state=state,
                cause=cause,
                at=self._now,
            )
        )

    def touch(self) -> None:
        """Note that something changed which routing depends on."""
        self._is_touched = True

    def finish(self) -> None:
        """Do what follows from all that was changed, in the same transaction and after it."""
        if self._has_parted and settle(self.service).is_changed:
            self.touch()
        if not self._is_touched:
            return
        revisions.touch(self.service.pk)
        has_returned = not self._served and serving(self.service.pk).exists()
        if has_returned:
            Service.objects.filter(pk=self.service.pk).update(returned_at=self._now)
        name, now = self.service.name, self._now
        # Robust: what is on record stays so, whatever becomes of this; Django logs an error.
        transaction.on_commit(lambda: _tell(name, self._records), robust=True)
        if has_returned:
            transaction.on_commit(lambda: _let_out(name, now), robust=True)


@contextmanager
def changing(service_pk: int, now: datetime) -> Iterator[ServiceChange]:
    """Change instances of one service in a transaction; others who do so take turns.

    On leaving the revision has grown where something changed that routing depends on. Once the
    outermost transaction has committed, `messaging.events.service_state_changed` has been sent for
    each transition, and what was held for a service that serves again is on its way.

    Raises:
        Service.DoesNotExist: it has been forgotten.
    """
    with transaction.atomic():
        # Not FOR UPDATE: that would block whoever writes a health record of the service meanwhile.
        service = Service.objects.select_for_update(no_key=True).get(pk=service_pk)
        change = ServiceChange(service, now)
        yield change
        change.finish()


def take_all(steps: Iterable[Step], now: datetime) -> list[Step]:
    """Take steps of any instances, those of one service together.

    Returns:
        Those that came too late: somebody else had changed the instance. Read it and decide anew.
    """
    late: list[Step] = []
    # By primary key: two processes that lock the same rows must do so in the same order.
    ordered = sorted(steps, key=lambda step: (step.instance.service_id, step.instance.pk))
    quiet = [step for step in ordered if step.is_quiet(now)]
    for start in range(0, len(quiet), BATCH):
        batch = sorted(quiet[start : start + BATCH], key=lambda step: step.instance.pk)
        with transaction.atomic():
            late += [step for step in batch if not step.write()]
    loud = (step for step in ordered if not step.is_quiet(now))
    for service_pk, group in groupby(loud, key=lambda step: step.instance.service_id):
        of_service = list(group)
        try:
            with changing(service_pk, now) as change:
                late += [step for step in of_service if not change.take(step)]
        except Service.DoesNotExist:
            late += of_service
    return late


def serving(service: int | OuterRef) -> QuerySet[ServiceInstance]:
    """Return the instances of a service that get requests.

    Args:
        service: primary key, or what stands for it in a subquery.
    """
    return ServiceInstance.objects.filter(service=service, left_at=None, state__in=SERVING)


def _unchanged(instance: ServiceInstance, changes: Mapping[str, Any]) -> QuerySet[ServiceInstance]:
    """Return the row if it still holds the facts that were read."""
    facts = {field: getattr(instance, field) for field in FACTS}
    if "heard" in changes or "last_seen_at" in changes:
        # Decided on when it was heard. Other changes do not mind a heartbeat in between.
        facts["last_seen_at"] = instance.last_seen_at
    return ServiceInstance.objects.filter(pk=instance.pk, **facts)


def _let_out(service: str, now: datetime) -> None:
    held.let_out(service, now, now)


def _tell(service: str, records: Iterable[HealthRecord]) -> None:
    for record in records:
        logger.info("%s, instance %s: %s", service, record.instance_id[:8], record)
        emit(
            service_state_changed,
            service,
            instance_id=record.instance_id,
            previous_state=record.previous_state,
            state=record.state,
            cause=record.cause,
        )
