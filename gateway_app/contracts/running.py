"""The contracts of all versions that run, from what their instances registered with."""

import json
from typing import Any

from django.db.models import Count

from gateway_app.models import OfferedSet, ServiceInstance
from gateway_app.registry.offered import Offers
from messaging.contracts.contract import Accepted, Contract, schemas_of, sent_messages


def running_contracts() -> list[Contract]:
    """Return a contract for each version of each service, by name; in two queries.

    Versions run side by side, and each has its own. Of a service of which nothing runs it is what
    its last instances said: messages wait for who comes back. Instances of one version that say
    different things are a contract each.

    Raises:
        DatabaseError: it does not answer.
    """
    present = (
        ServiceInstance.objects.filter(left_at=None, offers__isnull=False)
        .order_by()
        .values_list("offers_id", "version")
        .annotate(Count("pk"))
    )
    versions: dict[int, list[tuple[str, int]]] = {}
    for offers, version, count in present:
        versions.setdefault(offers, []).append((version, count))
    found: list[Contract] = []
    sets = list(OfferedSet.objects.select_related("service"))
    alive = {offered.service_id for offered in sets if offered.pk in versions}
    for offered in sets:
        if offered.pk not in versions and offered.service_id in alive:
            continue  # of instances that are gone, while others are there
        shown = versions.get(offered.pk, [(offered.service.version, 0)])
        offers = Offers.from_text(offered.offers_json)
        found += [
            _contract(offered.service.name, version, count, offers) for version, count in shown
        ]
    return sorted(found, key=lambda each: (each.service, each.version))


def _contract(service: str, version: str, instances: int, offers: Offers) -> Contract:
    said: dict[str, Any] = json.loads(offers.contract_json) if offers.contract_json else {}
    schemas = {name: json.loads(text) for name, text in offers.handles.items() if text}
    schemas |= schemas_of(said.get("schemas", {}), "schemas")
    answers = schemas_of(said.get("answers", {}), "answers")
    return Contract(
        service=service,
        version=version,
        accepts={
            pattern: Accepted(schemas.get(pattern), answers.get(pattern))
            for pattern in sorted({*offers.handles, *offers.subscriptions})
        },
        sends=sent_messages(said.get("sends", [])),
        routed=frozenset(leads.message for leads in offers.routes.values() if leads.message),
        instances=instances,
    )
