"""An instance comes: it registers for the first time, again, or after it had left."""

from datetime import datetime
from typing import Any

from gateway_app.models import ServiceInstance, State
from gateway_app.registry.registrations import InvalidRegistration, Registration
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
    service = change.service
    described = {
        "version": registration.version,
        "host": registration.host,
        "port": registration.port,
        "health_endpoint": registration.health_endpoint,
        "metadata_json": registration.metadata_json,
    }
    until = service.maintenance_until
    until = until if until is not None and now < until else None
    instance, is_new = ServiceInstance.objects.get_or_create(
        instance_id=registration.instance_id,
        defaults={
            "service": service,
            "state": State.UP if until is None else State.MAINTENANCE,
            "maintenance_until": until,
            "registered_at": now,
            "last_seen_at": now,
            **described,
        },
    )
    if instance.service_id != service.pk:
        raise InvalidRegistration(f"id: {instance.instance_id} is an instance of another service")
    if is_new:
        step = Step(instance, "registered", {})
        change.record(instance, "", State(instance.state), step.verdict(now).cause or step.healed)
        return instance
    while True:  # another turn only where it was heard of meanwhile
        if instance.left_at is not None and said_at <= instance.left_at:
            return None
        if _put_known(change, instance, described, until, now):
            instance.refresh_from_db()
            return instance
        instance.refresh_from_db()


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
