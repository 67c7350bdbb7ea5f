"""What a service offers: routes, handled types with their schemas, subscriptions.

It is everything that any of its instances offers that are there. What the last ones offered
outlives them: nobody knows better until the next one comes.
"""

from collections.abc import Mapping, Set
from dataclasses import replace
from datetime import datetime

from gateway_app import deploys
from gateway_app.models import HandledType, OfferedSet, Service, ServiceInstance, Subscription
from gateway_app.registry.offered import Offers, RefusedRoute, digest_of
from gateway_app.registry.registrations import Registration
from gateway_app.registry.route_claims import Claims, claim_routes


def put_offers(
    service: Service, instance: ServiceInstance, registration: Registration, said_at: datetime
) -> tuple[bool, tuple[RefusedRoute, ...]]:
    """Put on record what an instance offers, and what follows for its service. Safe to repeat.

    What an instance said later counts, whatever is handled last. Call it in a transaction that has
    locked the service.

    Returns:
        Whether something changed that routing depends on; routes in it that the service does not
        get.
    """
    offers, refused = Offers.of(registration)
    is_newer = instance.offered_at is None or said_at >= instance.offered_at
    if instance.offers_id is None or is_newer:
        _note(service, instance, offers.to_text(), said_at)
    claims = settle(service)
    refused += tuple(
        RefusedRoute(method, leads.path, f"it is a route of {owner} already")
        for (method, shape), leads in offers.routes.items()
        if (owner := claims.owners.get((method, shape)))
    )
    return claims.is_changed, refused


def settle(service: Service) -> Claims:
    """Have a service offer what its instances offer that are there. Safe to repeat.

    Where several offer the same thing in other words, the one decides that said so last. Where
    none is there that has said what it offers, all stays as it is. Call it in a transaction that
    has locked the service.
    """
    present = ServiceInstance.objects.filter(service=service, left_at=None, offers__isnull=False)
    rows = list(present.order_by("offered_at", "pk").values_list("offers_id", "version"))
    if not rows:
        return Claims()
    # The order of the newest of those that say the same.
    keys = list(dict.fromkeys(key for key, _ in reversed(rows)))[::-1]
    sets = OfferedSet.objects.in_bulk(keys)
    offers = Offers.union(Offers.from_text(sets[key].offers_json) for key in keys)
    claims = claim_routes(service, offers.routes)
    has_other_types = _put_handled_types(service, offers.handles)
    _put_subscriptions(service, offers.subscriptions)
    version = rows[-1][1]
    if service.version != version:
        if service.version:  # else it is new
            deploys.note(service.name, service.version, version)
        Service.objects.filter(pk=service.pk).update(version=version)
        service.version = version
    unused = OfferedSet.objects.filter(service=service).exclude(pk__in=keys)
    if unused.exists():
        unused.delete()
    return replace(claims, is_changed=claims.is_changed or has_other_types)


def _note(service: Service, instance: ServiceInstance, text: str, said_at: datetime) -> None:
    offered, _ = OfferedSet.objects.get_or_create(
        service=service, digest=digest_of(text), defaults={"offers_json": text}
    )
    if instance.offers_id != offered.pk:
        ServiceInstance.objects.filter(pk=instance.pk).update(offers=offered, offered_at=said_at)
        instance.offers, instance.offered_at = offered, said_at


def _put_handled_types(service: Service, handles: Mapping[str, str]) -> bool:
    rows = HandledType.objects.filter(service=service)
    known = dict(rows.values_list("type", "schema_json"))
    if known == handles:
        return False
    rows.filter(type__in=known.keys() - handles.keys()).delete()
    for message_type, schema_json in handles.items():
        if message_type not in known:
            HandledType.objects.create(service=service, type=message_type, schema_json=schema_json)
        elif known[message_type] != schema_json:
            rows.filter(type=message_type).update(schema_json=schema_json)
    return True


def _put_subscriptions(service: Service, patterns: Set[str]) -> None:
    rows = Subscription.objects.filter(service=service)
    known = set(rows.values_list("pattern", flat=True))
    if known == patterns:
        return
    rows.filter(pattern__in=known - patterns).delete()
    Subscription.objects.bulk_create(
        Subscription(service=service, pattern=pattern) for pattern in sorted(patterns - known)
    )
