"""The rules of the registry: who is there, who is silent, who is gone. No HTTP, no messaging.

An instance's state changes by one guarded UPDATE each (`_move`): it names the state and the
heartbeat it was decided on, and changes nothing if another worker of the gateway was faster. So
any number of workers may handle these messages at the same time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from django.db import transaction

from gateway_app.models import (
    HandledType,
    HealthRecord,
    Service,
    ServiceInstance,
    State,
    Subscription,
    best_of,
)
from gateway_app.registrations import InvalidRegistration, Registration
from gateway_app.route_claims import RefusedRoute, claim_routes
from messaging.apps import configured
from messaging.forking import without_fork
from messaging.patterns import matches

#: When so large a share of the instances is silent, the registry takes it for its own fault...
MASS_SHARE: Final = 0.85
#: ...but not when there are fewer: one or two of them are a large share already.
MASS_LEAST: Final = 4


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registration came to."""

    state: State
    refused: tuple[RefusedRoute, ...] = ()


class Heard(Enum):
    """Whom a heartbeat came from."""

    #: An instance in the registry; it is noted.
    KNOWN = "known"
    #: Nobody the registry knows: it has to register.
    UNKNOWN = "unknown"
    #: An instance that has said goodbye; its heartbeat came late.
    LEFT = "left"


def register(registration: Registration, *, said_at: datetime, now: datetime) -> Registered | None:
    """Put an instance and what its service offers on record; it is UP then. Safe to repeat.

    What the service offers is what its latest registration says.

    Args:
        registration: the data.
        said_at: when the instance said so, by its own clock.
        now: when it is handled.

    Returns:
        The instance's state and the routes refused; None: it has said goodbye since, and nothing
        was changed.

    Raises:
        InvalidRegistration: the instance id belongs to another service.
    """
    with transaction.atomic():
        # Two instances of one service that start together take turns.
        service = _locked_service(registration.name)
        instance = _put_instance(service, registration, said_at, now)
        if instance is None:
            return None
        refused = claim_routes(service, registration.routes)
        _put_names(HandledType, service, "type", registration.handles)
        _put_names(Subscription, service, "pattern", registration.subscriptions)
        Service.objects.filter(pk=service.pk).update(version=registration.version)
    return Registered(State(instance.state), tuple(refused))


def announce(instance_id: str, now: datetime) -> Heard:
    """Note that an instance lives; it is UP then, unless in maintenance.

    The usual case is one UPDATE: every instance of the system comes by every few seconds.
    """
    while True:  # another turn only where somebody else changed the instance meanwhile
        present = ServiceInstance.objects.filter(instance_id=instance_id, left_at=None)
        if present.filter(state__in=(State.UP, State.MAINTENANCE)).update(last_seen_at=now):
            return Heard.KNOWN
        instance = ServiceInstance.objects.filter(instance_id=instance_id).first()
        if instance is None:
            return Heard.UNKNOWN
        if instance.left_at is not None:
            return Heard.LEFT
        cause = f"heard again after {_text(now - instance.last_seen_at)}"
        if _move(instance, State.UP, cause, now, last_seen_at=now):
            return Heard.KNOWN


def deregister(name: str, instance_id: str, *, said_at: datetime, now: datetime) -> None:
    """Note that an instance has ended, for good. Safe to repeat.

    It is noted also where the instance is not known: its registration may be handled later, by
    another worker, and must not bring it back.
    """
    with transaction.atomic():
        service, _ = Service.objects.get_or_create(name=name)
        instance, is_new = ServiceInstance.objects.get_or_create(
            instance_id=instance_id,
            defaults={
                "service": service,
                "state": State.DOWN,
                "registered_at": now,
                "last_seen_at": now,
                "left_at": said_at,
            },
        )
    if is_new:
        return
    while instance.left_at is None:
        if _move(instance, State.DOWN, "deregistered", now, left_at=said_at):
            return
        instance.refresh_from_db()


def sweep(now: datetime) -> None:
    """Let who is silent go from UP to SUSPECT to DOWN and out of the registry.

    One step per sweep: when the broker was away, everybody was silent, and has until the next
    sweep to be heard. If most are silent at once, all stay SUSPECT: the fault is rather the
    registry's own. Run every ``heartbeat_seconds``; two sweeps at once do no harm.
    """
    config = configured()
    present = ServiceInstance.objects.filter(left_at=None).exclude(state=State.MAINTENANCE)
    silent_since = now - timedelta(seconds=config.suspect_seconds)
    silent = list(present.filter(last_seen_at__lte=silent_since))
    is_mass = len(silent) >= max(MASS_LEAST, MASS_SHARE * present.count())
    for instance in silent:
        silence = now - instance.last_seen_at
        cause = f"silent for {_text(silence)}"
        if instance.state not in (State.SUSPECT, State.DOWN):
            _move(instance, State.SUSPECT, cause, now)
        elif is_mass:
            continue
        elif instance.state == State.SUSPECT and silence.total_seconds() >= config.down_seconds:
            _move(instance, State.DOWN, cause, now)
        elif instance.state == State.DOWN and silence.total_seconds() >= config.gone_seconds:
            _forget(instance, cause, now)
    gone_since = now - timedelta(seconds=config.gone_seconds)
    ServiceInstance.objects.filter(left_at__lte=gone_since).delete()


def _locked_service(name: str) -> Service:
    Service.objects.get_or_create(name=name)
    # Not FOR UPDATE: that would block whoever writes a health record of this service meanwhile.
    return Service.objects.select_for_update(no_key=True).get(name=name)


def _put_instance(
    service: Service, registration: Registration, said_at: datetime, now: datetime
) -> ServiceInstance | None:
    described = {
        "version": registration.version,
        "host": registration.host,
        "port": registration.port,
        "health_endpoint": registration.health_endpoint,
    }
    instance, is_new = ServiceInstance.objects.get_or_create(
        instance_id=registration.instance_id,
        defaults={"service": service, "registered_at": now, "last_seen_at": now, **described},
    )
    if instance.service_id != service.pk:
        raise InvalidRegistration(f"id: {instance.instance_id} is an instance of another service")
    if instance.left_at is not None and said_at <= instance.left_at:
        return None
    if is_new:
        _record(instance, "", State.UP, "registered", now)
        return instance
    ServiceInstance.objects.filter(pk=instance.pk).update(left_at=None, **described)
    announce(instance.instance_id, now)
    instance.refresh_from_db()
    return instance


def _put_names(
    model: type[HandledType] | type[Subscription],
    service: Service,
    field: str,
    names: frozenset[str],
) -> None:
    """Make these names, and no others, those of the service."""
    rows: Any = model._default_manager.filter(service=service)
    known = set(rows.values_list(field, flat=True))
    rows.filter(**{f"{field}__in": known - names}).delete()
    rows.bulk_create(model(service=service, **{field: name}) for name in sorted(names - known))


def _move(
    instance: ServiceInstance, state: State, cause: str, now: datetime, **changes: Any
) -> bool:
    """Change the state of an instance, with a record of it, unless it has changed since."""
    with transaction.atomic():
        moved = _unchanged(instance).update(state=state, **changes)
        if moved:
            _record(instance, instance.state, state, cause, now)
    return bool(moved)


def _forget(instance: ServiceInstance, cause: str, now: datetime) -> None:
    with transaction.atomic():
        removed, _ = _unchanged(instance).delete()
        if removed:
            _record(instance, instance.state, State.UNKNOWN, f"forgotten: {cause}", now)


def _unchanged(instance: ServiceInstance) -> Any:
    return ServiceInstance.objects.filter(
        pk=instance.pk,
        state=instance.state,
        last_seen_at=instance.last_seen_at,
        left_at=instance.left_at,
    )


def _record(
    instance: ServiceInstance, previous: str, state: State, cause: str, now: datetime
) -> None:
    HealthRecord.objects.create(
        service_id=instance.service_id,
        instance_id=instance.instance_id,
        previous_state=previous,
        state=state,
        cause=cause,
        at=now,
    )


def _text(duration: timedelta) -> str:
    return f"{duration.total_seconds():.0f} s"


def subscribers_of(message_type: str) -> list[str]:
    """Return the services that want a broadcast of this type, whether or not they run."""
    rows = Subscription.objects.values_list("service__name", "pattern")
    return sorted({name for name, pattern in rows if matches(pattern, message_type)})


@without_fork
def is_down(service: str) -> bool:
    """Return whether a service is known to serve nobody just now; False if it is not known."""
    states = list(
        ServiceInstance.objects.filter(service__name=service, left_at=None).values_list(
            "state", flat=True
        )
    )
    return bool(states) and best_of(states) in (State.DOWN, State.MAINTENANCE)
