"""An instance comes: it registers, for the first time or again, or is heard of without that."""

from datetime import datetime
from typing import Any

from gateway_app.models import ServiceInstance, State
from gateway_app.registry.registrations import (
    Heartbeat,
    InvalidRegistration,
    Registration,
    Whereabouts,
)
from gateway_app.registry.transitions import ServiceChange, Step
from gateway_app.registry.verdicts import heard_again

#: A health endpoint elsewhere has not been asked yet.
_UNASKED = {"probe_failures": 0, "probe_error": ""}


def put_instance(
    change: ServiceChange, registration: Registration, said_at: datetime, now: datetime
) -> ServiceInstance | None:
    """Put an instance on record as it describes itself; it counts as heard.

    Who comes while its service is in maintenance is in maintenance as well.

    Args:
        change: of its service.
        registration: the data.
        said_at: when the instance said so, by its own clock.
        now: when it is handled.

    Returns:
        The instance; None: it has said goodbye since, and nothing was changed.

    Raises:
        InvalidRegistration: the instance id belongs to another service.
    """
    described = {**_described(registration), "metadata_json": registration.metadata_json}
    until = _maintenance_until(change, now)
    instance, is_new = _get_or_create(change, registration, described, "registered", now)
    if is_new:
        return instance
    while True:  # another turn only where it was heard of meanwhile
        if instance.left_at is not None and said_at <= instance.left_at:
            return None
        if _put_known(change, instance, described, until, now):
            instance.refresh_from_db()
            return instance
        instance.refresh_from_db()


def put_heard(change: ServiceChange, heartbeat: Heartbeat, now: datetime) -> ServiceInstance:
    """Put an instance on record of which only a heartbeat came. One that is known stays as it is.

    Raises:
        InvalidRegistration: the instance id belongs to another service.
    """
    described = {
        **_described(heartbeat),
        "load_json": heartbeat.load_json,
        "checks_json": heartbeat.checks_json,
    }
    return _get_or_create(change, heartbeat, described, "heard of", now)[0]


def _described(where: Whereabouts) -> dict[str, Any]:
    return {
        "version": where.version,
        "host": where.host,
        "port": where.port,
        "health_endpoint": where.health_endpoint,
    }


def _maintenance_until(change: ServiceChange, now: datetime) -> datetime | None:
    until = change.service.maintenance_until
    return until if until is not None and now < until else None


def _get_or_create(
    change: ServiceChange,
    where: Whereabouts,
    described: dict[str, Any],
    why: str,
    now: datetime,
) -> tuple[ServiceInstance, bool]:
    new = ServiceInstance(
        service=change.service,
        maintenance_until=_maintenance_until(change, now),
        registered_at=now,
        last_seen_at=now,
        **described,
    )
    verdict = Step(new, why, {}).verdict(now)
    instance, is_new = ServiceInstance.objects.get_or_create(
        instance_id=where.instance_id,
        defaults={
            "service": change.service,
            "state": verdict.state,
            "maintenance_until": new.maintenance_until,
            "registered_at": now,
            "last_seen_at": now,
            **described,
        },
    )
    if instance.service_id != change.service.pk:
        raise InvalidRegistration(f"id: {instance.instance_id} is an instance of another service")
    if is_new:
        change.record(instance, "", verdict.state, verdict.cause or why)
    return instance, is_new


def _put_known(
    change: ServiceChange,
    instance: ServiceInstance,
    described: dict[str, Any],
    until: datetime | None,
    now: datetime,
) -> bool:
    address = ("host", "port", "health_endpoint")
    has_moved = any(getattr(instance, field) != described[field] for field in address)
    changes: dict[str, Any] = {**described, "heard": State.UP, "last_seen_at": now}
    if has_moved or instance.left_at is not None:
        changes |= _UNASKED
    why = heard_again(instance, now)
    if instance.left_at is not None:
        changes |= {"left_at": None, "maintenance_until": until, "wedged": "", "checks_json": ""}
        why = "registered"
    if not change.take(Step(instance, why, changes)):
        return False
    if has_moved:
        change.touch()
    return True
