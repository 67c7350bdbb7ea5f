"""The registry as others see it: ``bus_services`` and the answer to `discover`.

States are shown as they are on record, unless nobody has looked for so long that they may be
anything; then they are UNKNOWN.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max, Prefetch

from gateway_app.models import (
    HealthRecord,
    QueuePause,
    Service,
    ServiceInstance,
    State,
    best_of,
)
from gateway_app.registry import registry_status
from messaging.envelope import utc_now


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service as it is shown."""

    service: Service
    state: State
    #: In the order in which they came.
    instances: tuple[ServiceInstance, ...]
    is_stale: bool

    @property
    def pause(self) -> QueuePause | None:
        """Why its workers take no messages, or soon will not; None: they do."""
        pause: QueuePause | None = getattr(self.service, "pause", None)
        return pause

    def state_of(self, instance: ServiceInstance) -> State:
        """Return the state of one of its instances as it is shown."""
        return State.UNKNOWN if self.is_stale else State(instance.state)

    def to_json(self) -> dict[str, Any]:
        """Return its entry in ``bus_services --json``."""
        handled = self.service.handled_types.all()
        return {
            "name": self.service.name,
            "state": self.state.value,
            "version": self.service.version,
            "instances": [self._instance(instance) for instance in self.instances],
            "routes": _routes(self.service.routes.all()),
            "handles": [each.type for each in handled],
            "schemas": {each.type: each.schema for each in handled if each.schema_json},
            "subscriptions": [each.pattern for each in self.service.subscriptions.all()],
            **_maintenance(self.service.maintenance_until),
            **_paused(self.pause),
        }

    def _instance(self, instance: ServiceInstance) -> dict[str, Any]:
        return {
            "id": instance.instance_id,
            "host": instance.host,
            "port": instance.port,
            "state": self.state_of(instance).value,
            "last_seen_at": instance.last_seen_at.isoformat(),
            "health_endpoint": instance.health_endpoint or None,
            "metadata": instance.metadata,
            "checks": instance.checks,
            **_maintenance(instance.maintenance_until),
        }


@dataclass(frozen=True, slots=True)
class View:
    """The registry as it is shown."""

    #: Why it should be read with care, one line for people; empty if nothing is.
    warning: str
    #: By name.
    services: tuple[ServiceView, ...]


def view(
    name: str | None = None, now: datetime | None = None, *, with_offers: bool = True
) -> View:
    """Return every service with its state, in a fixed number of queries.

    Services without an instance are among them only if they are tracked.

    Args:
        name: only this service.
        now: the instant at which it is looked at; None: the present.
        with_offers: whether routes, types and subscriptions are read with it, for `to_json`.
    """
    now = now or utc_now()
    status = registry_status.row().first()
    services = Service.objects.select_related("pause").prefetch_related(
        Prefetch("instances", ServiceInstance.objects.filter(left_at=None)),
        *(("routes", "handled_types", "subscriptions") if with_offers else ()),
    )
    if name is not None:
        services = services.filter(name=name)
    shown = [each for each in services if each.tracked or each.instances.all()]
    looked_at = registry_status.looked_at(
        status, (instance for service in shown for instance in service.instances.all())
    )
    is_stale = looked_at is not None and registry_status.is_stale(looked_at, now)
    return View(
        warning=registry_status.warning(status, now, looked_at=looked_at),
        services=tuple(_service_view(service, is_stale, now) for service in shown),
    )


def snapshot(name: str | None = None, now: datetime | None = None) -> list[dict[str, Any]]:
    """Return what `view` shows of the services, as JSON."""
    return [each.to_json() for each in view(name, now).services]


def departures(services: Iterable[Service]) -> dict[int, datetime]:
    """Return when the last instance of each of these services left or was forgotten, by key.

    A service of which that is not on record (any more) is left out.
    """
    records = HealthRecord.objects.filter(
        service__in=list(services), state__in=(State.DOWN, State.UNKNOWN)
    ).exclude(instance_id="")
    return dict(records.order_by().values_list("service").annotate(Max("at")))


def _service_view(service: Service, is_stale: bool, now: datetime) -> ServiceView:
    instances = tuple(service.instances.all())
    until = service.maintenance_until
    state = best_of([instance.state for instance in instances])
    if not instances and until is not None and now < until:
        state = State.MAINTENANCE  # and so will be who comes
    return ServiceView(service, State.UNKNOWN if is_stale else state, instances, is_stale)


def _maintenance(until: datetime | None) -> dict[str, str]:
    return {} if until is None else {"maintenance_until": until.isoformat()}


def _paused(pause: QueuePause | None) -> dict[str, Any]:
    if pause is None:
        return {}
    said = {"reason": pause.reason, "actor": pause.actor, "since": pause.since.isoformat()}
    return {"draining" if pause.is_draining else "paused": said}


def _routes(routes: Any) -> list[dict[str, Any]]:
    """Return routes as services register them: the methods of what is the same otherwise."""
    methods: dict[tuple[str, str, str], list[str]] = {}
    options: dict[str, dict[str, Any]] = {}
    for route in routes:
        options[route.options_json] = route.options
        key = route.path, route.message, route.options_json
        methods.setdefault(key, []).append(route.method)
    return [
        {"path": path, "methods": names, "message": message, **options[options_json]}
        for (path, message, options_json), names in methods.items()
    ]
