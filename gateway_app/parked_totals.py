"""How many dead letters have come, by service and reason: counters that outlive their rows."""

from collections.abc import Iterator

from django.db.models import F

from gateway_app.models import ParkedTotal


def count(service: str, reason: str) -> None:
    """Count one more. Call it in the transaction that stores it, and only if it is new."""
    one = ParkedTotal.objects.filter(service=service, reason=reason)
    if not one.update(count=F("count") + 1):
        ParkedTotal.objects.get_or_create(service=service, reason=reason)
        one.update(count=F("count") + 1)


def all_of_them() -> Iterator[tuple[str, str, int]]:
    """Yield service, reason and count; as many as there are services, times reasons, at most."""
    yield from ParkedTotal.objects.order_by("service", "reason").values_list(
        "service", "reason", "count"
    )
