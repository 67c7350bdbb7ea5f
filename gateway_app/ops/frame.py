"""What the frame around every page shows of the present: counts beside the names of pages."""

from collections.abc import Iterable
from typing import Any, Final

from django.conf import settings
from django.urls import reverse

from gateway_app.models import State
from gateway_app.ops import reads
from gateway_app.ops.paced import Paced
from gateway_app.ops.page import Page
from gateway_app.ops.question import Question
from gateway_app.registry.snapshot import view


def _read_worst() -> str:
    """Return the class of the worst state that an instance is in; empty: all is well."""
    services = view(with_offers=False).services
    states = {each.state_of(instance) for each in services for instance in each.instances}
    if State.DOWN in states or any(not each.instances for each in services):
        return "down"
    return "suspect" if State.SUSPECT in states else ""


_worst: Final = Paced(_read_worst, 1.0)


def read(asked: Question, pages: Iterable[Page]) -> dict[str, Any]:
    """Return the navigation: pages, and what is beside their names."""
    known = asked.once(reads.waiting)
    counts = {
        "queues": sum(depth.waiting for depth in known.value.depths.values()) if known else 0,
        "dead-letters": sum(each.count for each in asked.once(reads.parked).values()),
    }
    return {
        "navigation": [
            {
                "name": page.name,
                "title": page.title,
                "icon": page.icon,
                "heading": page.heading,
                "url": reverse(f"ops:{page.name}"),
                "count": counts.get(page.name, 0),
            }
            for page in pages
            if page.icon
        ],
        "health": _worst.get(),
        "flower_url": settings.FLOWER_URL,
    }
