"""The registry as others see it: ``bus_services --json`` and the answer to `discover`."""

from typing import Any

from django.db.models import Prefetch

from gateway_app.models import Service, ServiceInstance, best_of


def snapshot(name: str | None = None) -> list[dict[str, Any]]:
    """Return every service with its state, sorted by name, in a fixed number of queries.

    Args:
        name: only this service.
    """
    services = Service.objects.prefetch_related(
        Prefetch("instances", ServiceInstance.objects.filter(left_at=None)),
        "routes",
        "handled_types",
        "subscriptions",
    )
    if name is not None:
        services = services.filter(name=name)
    return [_service(s) for s in services if s.tracked or s.instances.all()]


def _service(service: Service) -> dict[str, Any]:
    instances = service.instances.all()
    return {
        "name": service.name,
        "state": best_of([instance.state for instance in instances]).value,
        "version": service.version,
        "instances": [_instance(instance) for instance in instances],
        "routes": _routes(service.routes.all()),
        "handles": [handled.type for handled in service.handled_types.all()],
        "subscriptions": [subscription.pattern for subscription in service.subscriptions.all()],
    }


def _instance(instance: ServiceInstance) -> dict[str, Any]:
    return {
        "id": instance.instance_id,
        "host": instance.host,
        "port": instance.port,
        "state": instance.state,
        "last_seen_at": instance.last_seen_at.isoformat(),
        "health_endpoint": instance.health_endpoint or None,
    }


def _routes(routes: Any) -> list[dict[str, Any]]:
    """Return routes as services register them: the methods of one path and message together."""
    methods: dict[tuple[str, str], list[str]] = {}
    for route in routes:
        methods.setdefault((route.path, route.message), []).append(route.method)
    return [
        {"path": path, "methods": names, "message": message}
        for (path, message), names in methods.items()
    ]
