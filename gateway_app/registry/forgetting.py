"""Taking out of the registry, by hand, what will not come back."""

from datetime import datetime

from gateway_app import audit
from gateway_app.models import Service, ServiceInstance, State
from gateway_app.registry import revisions
from gateway_app.registry.transitions import changing


class NotForgotten(Exception):
    """It stays in the registry. Nothing was changed; the text says why."""


def forget_service(service: Service, *, actor: str, now: datetime) -> None:
    """Remove a service that has no instances, with its routes, subscriptions and health history.

    It is as if it had never registered: broadcasts are no longer kept for it.

    Args:
        service: a row; how it looks in the database now is what counts.
        actor: who wants it, for the audit record.
        now: the present.

    Raises:
        NotForgotten: it is tracked, or an instance of it is there.
        Service.DoesNotExist: it is forgotten already.
    """
    with changing(service.pk, now) as change:
        if change.service.tracked:
            raise NotForgotten(f"{service.name} is tracked: it is shown also while it is away")
        if change.service.instances.filter(left_at=None).exists():
            raise NotForgotten(f"{service.name} has instances")
        # Here and not at the end, when there is no row left to carry the revision.
        revisions.touch(change.service.pk)
        name = change.service.name
        change.service.delete()
        _audit(actor, name, "the service", now)


def forget_instance(instance: ServiceInstance, *, actor: str, now: datetime) -> None:
    """Remove an instance that is DOWN; if it lives after all, its next heartbeat brings it back.

    Args:
        instance: a row; how it looks in the database now is what counts.
        actor: who wants it, for the audit record.
        now: the present.

    Raises:
        NotForgotten: it is not DOWN, or was heard of just now.
        ServiceInstance.DoesNotExist: it is forgotten already.
    """
    with changing(instance.service_id, now) as change:
        present = ServiceInstance.objects.get(pk=instance.pk, left_at=None)
        if present.state != State.DOWN:
            raise NotForgotten(f"{present} is {present.state}")
        if not change.forget(present, f"by {actor}"):
            raise NotForgotten(f"{present} was heard of just now")
        _audit(actor, change.service.name, f"instance {present.instance_id}", now)


def track(service: Service, tracked: bool, *, actor: str, now: datetime) -> None:
    """Say whether a service is shown when it has no instance any more. Safe to repeat."""
    with changing(service.pk, now) as change:
        Service.objects.filter(pk=change.service.pk).update(tracked=tracked)
        detail = "tracked" if tracked else "not tracked"
        audit.record("track", actor=actor, service=change.service.name, detail=detail, at=now)


def _audit(actor: str, service: str, what: str, now: datetime) -> None:
    audit.record("forget", actor=actor, service=service, detail=what, at=now)
