"""The pages: their addresses, and the regions that each is made of."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.db import DatabaseError
from django.template.loader import render_to_string

from gateway_app.ops import (
    contracts,
    dead_letters,
    doctor,
    first_run,
    frame,
    health,
    message,
    messages,
    overview,
    queue_depths,
    routes,
    topology,
)
from gateway_app.ops.page import Page, Region
from gateway_app.ops.question import Question
from messaging.envelope import new_message_id

logger = logging.getLogger(__name__)

#: In the shared text of a region: each viewer's own token, and a new idempotency key, go there. No
#: template can make them from what messages say: they hold a character that templates escape.
_CSRF_PLACE: Final = "<csrf>"
_KEY_PLACE: Final = "<key>"


#: What the frame shows of the present, on every page.
FRAME: Final = Region("nav", lambda asked: frame.read(asked, PAGES))

PAGES: Final[tuple[Page, ...]] = (
    Page(
        "overview",
        "Overview",
        "",
        "layout-dashboard",
        (
            Region("first_run", first_run.steps),
            Region("verdict", overview.verdict),
            Region("ledger", overview.ledger),
            Region("flow", overview.flow),
            Region("services", overview.services),
            Region("events", overview.events),
            Region("dead_letters", overview.dead_letters),
        ),
        ranges=("1h", "24h", "7d"),
    ),
    Page(
        "topology",
        "Topology",
        "topology/",
        "workflow",
        (
            Region("map_data", topology.map_data),
            Region("slider", topology.slider),
            Region("panel", topology.panel),
            Region("table", topology.table),
        ),
        ranges=topology.CHOICES,
    ),
    Page(
        "queues",
        "Queues",
        "queues/",
        "layers",
        (
            Region("choice", queue_depths.choice),
            Region("depths", queue_depths.depths),
            Region("queues", queue_depths.table),
            Region("steer", queue_depths.steer),
        ),
        ranges=queue_depths.CHOICES,
    ),
    Page(
        "health",
        "Health",
        "health/",
        "heart-pulse",
        (
            Region("guard", health.guard),
            Region("counts", health.counts),
            Region("instances", health.instances),
            Region("changed", health.changed),
            Region("maintenance", health.maintenance),
            Region("cards", health.cards),
        ),
        ranges=("6h", "24h", "7d"),
    ),
    Page(
        "dead-letters",
        "Dead letters",
        "dead-letters/",
        "archive-x",
        (
            Region("tabs", dead_letters.tabs),
            Region("groups", dead_letters.groups),
            Region("operations", dead_letters.operations),
            Region("progress", dead_letters.progress),
            Region("group", dead_letters.group),
        ),
        ranges=dead_letters.RANGES,
        heading="Messages",
    ),
    Page(
        "messages",
        "Messages",
        "messages/",
        "mail-search",
        (Region("messages", messages.messages),),
    ),
    Page(
        "message",
        "Message",
        "messages/<path:message_id>/",
        "",
        (
            Region("facts", message.facts),
            Region("told", message.told),
            Region("conversation", message.conversation),
            Region("time", message.time),
            Region("tree", message.tree),
            Region("attempts", message.attempts),
            Region("payload", message.payload),
        ),
    ),
    Page(
        "routes",
        "Gateway routes",
        "routes/",
        "route",
        (Region("routes", routes.routes),),
        heading="Set-up",
    ),
    Page(
        "contracts",
        "Contracts",
        "contracts/",
        "file-text",
        (
            Region("fitting", contracts.fitting),
            Region("versions", contracts.versions),
            Region("messages", contracts.messages),
        ),
    ),
    Page("doctor", "Doctor", "doctor/", "stethoscope", (Region("checks", doctor.checks),)),
)
BY_NAME: Final = {page.name: page for page in PAGES}


@dataclass(frozen=True, slots=True)
class Shown:
    """One region as text; with `failed`, what it says why there is none."""

    region: str
    html: str
    failed: bool = False


def for_viewer(html: str, csrf_token: str) -> str:
    """Return shared text with what is one viewer's own put in."""
    return html.replace(_CSRF_PLACE, csrf_token).replace(_KEY_PLACE, new_message_id())


def shown(page: Page, asked: Question) -> Iterator[Shown]:
    """Yield every region of a page as it is now; one that fails does not keep the others away."""
    for region in (FRAME, *page.regions):
        folder = "frame" if region is FRAME else page.name
        try:
            context = {**region.read(asked), "asked": asked, "now": asked.now, "page": page}
            html = render_to_string(f"ops/{folder}/{region.name}.html", context)
        except DatabaseError as exc:
            logger.warning("region %s of %s: %s", region.name, page.name, exc)
            html = render_to_string("ops/failed.html", {"reason": str(exc)})
            yield Shown(region.name, html, failed=True)
        else:
            yield Shown(region.name, html)
