"""What instances say of themselves: they register, are heard of, and say goodbye."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from django.db import transaction
from django.db.models import Exists, OuterRef

from gateway_app.models import Service, ServiceInstance, State, Subscription
from gateway_app.registry import registry_status
from gateway_app.registry.arrivals import put_heard, put_instance
from gateway_app.registry.offered import RefusedRoute
from gateway_app.registry.offers import put_offers
from gateway_app.registry.registrations import Heartbeat, InvalidRegistration, Registration
from gateway_app.registry.transitions import Step, changing, serving, take_all
from gateway_app.registry.verdicts import heard_again
from messaging.custody.sql import Statement
from messaging.database_threads import lone_write
from messaging.envelope import utc_now
from messaging.forking import without_fork
from messaging.patterns import matches

#: As text: the ORM takes a millisecond to put it together.
_HEAR: Final = Statement(
    f"UPDATE {ServiceInstance._meta.db_table} SET last_seen_at = %(now)s, load_json = %(load)s "
    "WHERE instance_id = %(id)s AND left_at IS NULL AND heard = 'UP' "
    "AND checks_json = %(checks)s AND offers_id IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registration came to."""

    state: State
    refused: tuple[RefusedRoute, ...] = ()


class Heard(Enum):
    """Whom a heartbeat came from."""

    #: An instance in the registry; it is noted.
    KNOWN = "known"
    #: One that is noted as well, but has not said what it offers: it has to register.
    UNREGISTERED = "unregistered"
    #: Nobody the registry knows; nothing was noted.
    UNKNOWN = "unknown"
    #: An instance that has said goodbye; its heartbeat came late.
    LEFT = "left"


def register(registration: Registration, *, said_at: datetime, now: datetime) -> Registered | None:
    """Put an instance and what its service offers on record; it counts as heard. Safe to repeat.

    What the service offers is what any of its instances offers that are there; see `offers`.

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
        service, _ = Service.objects.get_or_create(name=registration.name)
        # Two instances of one service that start together take turns.
        with changing(service.pk, now) as change:
            instance = put_instance(change, registration, said_at, now)
            if instance is None:
                return None
            is_changed, refused = put_offers(change.service, instance, registration, said_at)
            if is_changed:
                change.touch()
    return Registered(State(instance.state), refused)


def hear(instance_id: str, now: datetime, *, load_json: str = "", checks_json: str = "") -> bool:
    """Note a heartbeat that changes nothing: heard as before, and its checks say the same.

    One UPDATE, in the caller's transaction. Every instance of the system comes by every few
    seconds, and this is what nearly all of them cost.

    Args:
        instance_id: who.
        now: the present.
        load_json: what it has in hand, as `registrations.Heartbeat` has it.
        checks_json: what its own checks say, as there.

    Returns:
        Whether it was such a one. If not, nothing was noted: see `announce`.
    """
    values = {"id": instance_id, "now": now, "load": load_json, "checks": checks_json}
    return _HEAR.run(values) > 0


def announce(
    instance_id: str, now: datetime, *, load_json: str = "", checks_json: str = ""
) -> Heard:
    """Note that an instance lives, and what it says of itself. Arguments as with `hear`."""
    while True:  # another turn only where somebody else changed the instance meanwhile
        with lone_write():
            is_noted = hear(instance_id, now, load_json=load_json, checks_json=checks_json)
        if is_noted:
            return Heard.KNOWN
        instance = ServiceInstance.objects.filter(instance_id=instance_id).first()
        if instance is None:
            return Heard.UNKNOWN
        if instance.left_at is not None:
            return Heard.LEFT
        heard = {
            "heard": State.UP,
            "last_seen_at": now,
            "load_json": load_json,
            "checks_json": checks_json,
        }
        why = "its own checks succeed"
        if instance.heard != State.UP:
            why = heard_again(instance, now)
        if not take_all([Step(instance, why, heard)], now):
            return Heard.UNREGISTERED if instance.offers_id is None else Heard.KNOWN


def take_in(heartbeat: Heartbeat, now: datetime) -> Heard:
    """Put an instance on record from its heartbeat alone: it may have been forgotten.

    What it offers it has to say in a registration. Safe to repeat.

    Raises:
        InvalidRegistration: the instance id belongs to another service.
    """
    with transaction.atomic():
        service, _ = Service.objects.get_or_create(name=heartbeat.name)
        with changing(service.pk, now) as change:
            instance = put_heard(change, heartbeat, now)
    if instance.left_at is not None:
        return Heard.LEFT
    return Heard.UNREGISTERED if instance.offers_id is None else Heard.KNOWN


def deregister(name: str, instance_id: str, *, said_at: datetime, now: datetime) -> None:
    """Note that an instance has ended, for good. Safe to repeat.

    It is noted also where the instance is not known: its registration may be handled later, by
    another worker, and must not bring it back.

    Raises:
        InvalidRegistration: the instance id belongs to another service.
    """
    with transaction.atomic():
        service, _ = Service.objects.get_or_create(name=name)
        with changing(service.pk, now) as change:
            instance, _ = ServiceInstance.objects.get_or_create(
                instance_id=instance_id,
                defaults={
                    "service": service,
                    "state": State.DOWN,
                    "registered_at": now,
                    "last_seen_at": now,
                    "left_at": said_at,
                },
            )
            if instance.service_id != service.pk:
                raise InvalidRegistration(f"id: {instance_id} is an instance of another service")
            while instance.left_at is None:
                if change.take(Step(instance, "", {"left_at": said_at})):
                    return
                instance.refresh_from_db()


def subscribers_of(message_type: str) -> list[str]:
    """Return the services that want a broadcast of this type, whether or not they run."""
    rows = Subscription.objects.values_list("service__name", "pattern")
    return sorted({name for name, pattern in rows if matches(pattern, message_type)})


@without_fork
def is_down(service: str) -> bool:
    """Return whether a service is known to serve nobody just now.

    False if it has never registered, and while nobody looks for silent instances: who does not
    look cannot tell.
    """
    known = Service.objects.filter(name=service)
    if not known.exclude(Exists(serving(OuterRef("pk")))).exists():
        return False
    swept_at = registry_status.row().values_list("swept_at", flat=True).first()
    return not registry_status.is_stale(swept_at, utc_now())
