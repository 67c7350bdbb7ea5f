"""Which service has which HTTP route: first come, first served."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway_app.models import Route, Service
from gateway_app.registry import revisions
from gateway_app.registry.offered import Leads, Match

#: Shapes of one look-up; databases limit the parameters of a statement.
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Claims:
    """What became of what a service offers."""

    #: Whether something changed that routing depends on.
    is_changed: bool = False
    #: The services that have routes which it does not get.
    owners: Mapping[Match, str] = field(default_factory=dict)


def claim_routes(service: Service, wanted: Mapping[Match, Leads]) -> Claims:
    """Give a service the routes it offers and nobody else has; take away those it does not offer.

    Call it in a transaction that has locked the service. Services that claim routes at the same
    time take turns; one that has all its routes already waits for nobody, and writes nothing.

    Args:
        service: who offers them.
        wanted: everything it offers.
    """
    missing = dict(wanted)
    is_changed = False
    for route in service.routes.all():
        leads = missing.pop((route.method, route.shape), None)
        if leads is None:
            route.delete()
        elif (route.path, route.message, route.options_json) != _row(leads):
            route.path, route.message, route.options_json = _row(leads)
            route.save(update_fields=["path", "message", "options_json"])
        else:
            continue
        is_changed = True
    owners = _owners(missing, service)
    if missing.keys() - owners.keys():
        # Another service may be about to have one of them.
        revisions.lock()
        owners = _owners(missing, service)
    free = missing.keys() - owners.keys()
    Route.objects.bulk_create(
        Route(
            service=service,
            method=method,
            path=leads.path,
            shape=shape,
            message=leads.message,
            options_json=leads.options_json,
        )
        for (method, shape), leads in missing.items()
        if (method, shape) in free
    )
    return Claims(is_changed or bool(free), owners)


def _owners(matches: Collection[Match], service: Service) -> dict[Match, str]:
    """Return which of these routes another service than this one has, with its name."""
    return {match: name for match, name in _rows(matches, service) if match in matches}


def _rows(matches: Collection[Match], service: Service) -> Iterator[tuple[Match, str]]:
    shapes = sorted({shape for _, shape in matches})
    for start in range(0, len(shapes), _AT_ONCE):
        some = shapes[start : start + _AT_ONCE]
        rows = Route.objects.exclude(service=service).filter(shape__in=some).order_by()
        for method, shape, name in rows.values_list("method", "shape", "service__name"):
            yield (method, shape), name


def _row(leads: Leads) -> tuple[str, str, str]:
    return leads.path, leads.message, leads.options_json
