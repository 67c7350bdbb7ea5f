"""MAINTENANCE: an instance, or all of a service, gets no requests, by hand and with an end.

What is heard of them meanwhile is noted all the same, and counts at the end.
"""

from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q

from gateway_app import audit
from gateway_app.models import Service, ServiceInstance
from gateway_app.registry.transitions import ServiceChange, Step, changing
from gateway_app.registry.wording import instant_text

#: Whoever is away for longer is gone.
LONGEST: Final = timedelta(days=31)


def set_maintenance(
    target: Service | ServiceInstance,
    until: datetime,
    *,
    actor: str,
    now: datetime,
    reason: str = "",
) -> None:
    """Take a service with all its instances, or one instance, out until an instant.

    Who registers meanwhile is in maintenance as well, where it is the service's. Safe to repeat;
    the last call says when it ends.

    Args:
        target: a row; how it looks in the database now is what counts.
        until: when it ends by itself, at the next sweep.
        actor: who wants it, for the audit record.
        now: the present.
        reason: for the audit record, text for people.

    Raises:
        ValueError: it would have ended already, or last longer than `LONGEST`.
        Service.DoesNotExist, ServiceInstance.DoesNotExist: it is not in the registry any more.
    """
    if until <= now:
        raise ValueError(f"maintenance has to end in the future, not at {until.isoformat()}")
    if until - now > LONGEST:
        raise ValueError(f"maintenance lasts {LONGEST.days} days at most")
    detail = f"until {instant_text(until, now)}"
    if reason:
        detail += f": {reason}"
    _put(target, until, actor=actor, now=now, detail=detail)


def end_maintenance(target: Service | ServiceInstance, *, actor: str, now: datetime) -> None:
    """End the maintenance of a service with all its instances, or of one instance, now.

    What is in no maintenance stays as it is. Safe to repeat.

    Raises:
        Service.DoesNotExist, ServiceInstance.DoesNotExist: it is not in the registry any more.
    """
    _put(target, None, actor=actor, now=now, detail="ended")


def end_what_is_over(now: datetime) -> None:
    """End every maintenance whose time has come. Safe to repeat."""
    is_over = Q(maintenance_until__lte=now)
    over = set(Service.objects.filter(is_over).values_list("pk", flat=True))
    instances = ServiceInstance.objects.filter(is_over, left_at=None)
    for service_pk in sorted(over.union(instances.values_list("service_id", flat=True))):
        with changing(service_pk, now) as change:
            until = change.service.maintenance_until
            if until is not None and until <= now:
                _put_service(change, None)
            _put_instances(change, is_over, None, now)


def _put(
    target: Service | ServiceInstance,
    until: datetime | None,
    *,
    actor: str,
    now: datetime,
    detail: str,
) -> None:
    service_pk = target.pk if isinstance(target, Service) else target.service_id
    with changing(service_pk, now) as change:
        if isinstance(target, Service):
            _put_service(change, until)
            _put_instances(change, Q(), until, now)
        else:
            ServiceInstance.objects.get(pk=target.pk, left_at=None)
            _put_instances(change, Q(pk=target.pk), until, now)
            detail = f"instance {target.instance_id}: {detail}"
        audit.record(
            "maintenance", actor=actor, service=change.service.name, detail=detail, at=now
        )


def _put_service(change: ServiceChange, until: datetime | None) -> None:
    Service.objects.filter(pk=change.service.pk).update(maintenance_until=until)
    change.touch()


def _put_instances(
    change: ServiceChange, chosen: Q, until: datetime | None, now: datetime
) -> None:
    present = ServiceInstance.objects.filter(chosen, service=change.service, left_at=None)
    others = present.exclude(maintenance_until=until).order_by("pk")
    while instances := list(others.all()):  # again only where one was heard of meanwhile
        for instance in instances:
            change.take(Step(instance, "maintenance ended", {"maintenance_until": until}))
