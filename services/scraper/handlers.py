"""What scraper-service does with the messages it gets."""

import asyncio
from collections.abc import Iterable

import httpx

from messaging import InvalidData, Route, ServiceCommunicator
from services.scraper.contracts import (
    DOCUMENT_SERVICE,
    DOCUMENT_STORE,
    FREE_ZONES_PATH,
    SCRAPE_FREE_ZONES,
    SERVICE,
    FreeZonesFound,
    PageFound,
    ScrapeFreeZones,
)
from services.scraper.crawling import crawl
from services.scraper.parsing import ParsedPage

communicator = ServiceCommunicator(
    SERVICE,
    version="1.0.0",
    routes=[Route(path=FREE_ZONES_PATH, methods=("POST",), message=SCRAPE_FREE_ZONES)],
)
communicator.sends(DOCUMENT_STORE, PageFound, to=DOCUMENT_SERVICE)


@communicator.on_message(SCRAPE_FREE_ZONES, schema=ScrapeFreeZones, answers=FreeZonesFound)
async def scrape_free_zones(wanted: ScrapeFreeZones) -> FreeZonesFound:
    """Fetch an overview and the pages it links to, send them all on, answer with what was found.

    Run twice, it sends every page twice; document-service keeps one of each.
    """
    found = await crawl(wanted.url, _allowed_hosts(wanted))
    pages = (found.overview, *found.details)
    # Sending blocks until the broker has it: not on the loop that all async handlers share.
    await asyncio.to_thread(_send_documents, pages, wanted.user_id)
    return {
        "url": found.overview.url,
        "title": found.overview.title,
        "zones": [{"name": page.title, "url": page.url} for page in found.details],
        "skipped": [{"url": error.url, "reason": error.reason} for error in found.failures],
        "linksLeft": found.links_left,
        "documentsSent": len(pages),
    }


def _send_documents(pages: Iterable[ParsedPage], user_id: int | None) -> None:
    for page in pages:
        communicator.send_to_service(
            DOCUMENT_SERVICE,
            DOCUMENT_STORE,
            {"url": page.url, "title": page.title, "text": page.text, "userId": user_id},
        )


def _allowed_hosts(wanted: ScrapeFreeZones) -> frozenset[str]:
    if wanted.allowed_hosts is not None:
        return frozenset(name.lower() for name in wanted.allowed_hosts)
    try:
        return frozenset({httpx.URL(wanted.url).host.lower()})
    except httpx.InvalidURL as exc:
        raise InvalidData(f"url: {exc}, got {wanted.url!r:.100}") from exc
