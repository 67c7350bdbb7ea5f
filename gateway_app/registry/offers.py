"""What a service offers: routes, handled types with their schemas, subscriptions.

It is what its latest registration says, and outlives its instances.
"""

from dataclasses import dataclass

from gateway_app.models import HandledType, Service, Subscription
from gateway_app.registry.registrations import Registration
from gateway_app.registry.route_claims import RefusedRoute, claim_routes


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of what a service offers."""

    refused: tuple[RefusedRoute, ...]
    #: Whether something changed that routing depends on.
    is_changed: bool


def put_offers(service: Service, registration: Registration) -> Offered:
    """Put on record what a service offers, and nothing else. Safe to repeat.

    Call it in a transaction that has locked the service.
    """
    claims = claim_routes(service, registration.routes)
    has_other_types = _put_handled_types(service, registration)
    _put_subscriptions(service, registration)
    if service.version != registration.version:
        Service.objects.filter(pk=service.pk).update(version=registration.version)
    return Offered(claims.refused, claims.is_changed or has_other_types)


def _put_handled_types(service: Service, registration: Registration) -> bool:
    rows = HandledType.objects.filter(service=service)
    known = dict(rows.values_list("type", "schema_json"))
    if known == registration.handles:
        return False
    rows.filter(type__in=known.keys() - registration.handles.keys()).delete()
    for message_type, schema_json in registration.handles.items():
        if message_type not in known:
            HandledType.objects.create(service=service, type=message_type, schema_json=schema_json)
        elif known[message_type] != schema_json:
            rows.filter(type=message_type).update(schema_json=schema_json)
    return True


def _put_subscriptions(service: Service, registration: Registration) -> None:
    rows = Subscription.objects.filter(service=service)
    known = set(rows.values_list("pattern", flat=True))
    rows.filter(pattern__in=known - registration.subscriptions).delete()
    Subscription.objects.bulk_create(
        Subscription(service=service, pattern=pattern)
        for pattern in sorted(registration.subscriptions - known)
    )
