"""What scraper-service does with the messages it gets."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

import httpx

from messaging import Reject, Route, ServiceCommunicator
from services.scraper.contracts import (
    DOCUMENT_SERVICE,
    DOCUMENT_STORE,
    FREE_ZONES_PATH,
    SCRAPE_FREE_ZONES,
    SERVICE,
    FreeZonesFound,
)
from services.scraper.crawling import crawl
from services.scraper.parsing import ParsedPage

communicator = ServiceCommunicator(
    SERVICE,
    version="1.0.0",
    routes=[Route(path=FREE_ZONES_PATH, methods=("POST",), message=SCRAPE_FREE_ZONES)],
)

#: Far more than any overview page is spread over.
MAX_ALLOWED_HOSTS: Final = 20


class InvalidData(Reject):
    """The message's data is not what the contract says; trying again changes nothing."""


@communicator.on_message(SCRAPE_FREE_ZONES)
async def scrape_free_zones(data: Any) -> FreeZonesFound:
    """Fetch an overview and the pages it links to, send them all on, answer with what was found.

    Run twice, it sends every page twice; document-service keeps one of each.
    """
    url, allowed_hosts, user_id = _read(data)
    found = await crawl(url, allowed_hosts)
    pages = (found.overview, *found.details)
    # Sending blocks until the broker has it: not on the loop that all async handlers share.
    await asyncio.to_thread(_send_documents, pages, user_id)
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


def _read(data: Any) -> tuple[str, frozenset[str], int | None]:
    """Return URL, allowed hosts and user of a `ScrapeFreeZones`."""
    if not isinstance(data, Mapping):
        raise InvalidData(f"expected an object, got {data!r:.100}")
    url, user_id = data.get("url"), data.get("userId")
    if not isinstance(url, str):
        raise InvalidData(f"url: expected a text, got {url!r:.100}")
    if user_id is not None and (type(user_id) is not int or user_id < 0):
        raise InvalidData(f"userId: expected a whole number from 0, got {user_id!r:.100}")
    hosts = data.get("allowedHosts")
    return url, _own_host(url) if hosts is None else _hosts(hosts), user_id


def _own_host(url: str) -> frozenset[str]:
    try:
        return frozenset({httpx.URL(url).host.lower()})
    except httpx.InvalidURL as exc:
        raise InvalidData(f"url: {exc}, got {url!r:.100}") from exc


def _hosts(names: Any) -> frozenset[str]:
    if (
        not isinstance(names, list)
        or not 1 <= len(names) <= MAX_ALLOWED_HOSTS
        or not all(isinstance(name, str) for name in names)
    ):
        raise InvalidData(
            f"allowedHosts: expected 1 to {MAX_ALLOWED_HOSTS} host names, got {names!r:.100}"
        )
    return frozenset(name.lower() for name in names)
