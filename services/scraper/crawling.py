"""One scrape: an overview page, and the pages it links to on the allowed hosts. No deeper."""

import asyncio
from collections.abc import Set
from dataclasses import dataclass
from typing import Final

import httpx

from services.scraper.fetching import FetchError, fetch, open_client
from services.scraper.parsing import ParsedPage, parse

#: Together with `AT_ONCE`: (1 + 20 / 5) x 5 s = 25 s, so that there is an answer within the
#: 30 s of ``request_timeout_seconds`` even where every page is as slow as it may be.
MAX_DETAIL_PAGES: Final = 20
#: Pages fetched at the same time; polite to the one server they usually come from.
AT_ONCE: Final = 5


@dataclass(frozen=True, slots=True)
class CrawlResult:
    """What one scrape brought."""

    overview: ParsedPage
    #: In the order of the links.
    details: tuple[ParsedPage, ...]
    #: Linked pages that could not be had.
    failures: tuple[FetchError, ...]
    #: Links over `MAX_DETAIL_PAGES`, not followed.
    links_left: int


async def crawl(url: str, allowed_hosts: Set[str]) -> CrawlResult:
    """Fetch an overview page and what it links to.

    Args:
        url: of the overview page.
        allowed_hosts: host names in lower case; links to others are passed over.

    Raises:
        FetchError: the overview could not be had. A linked page that cannot is in the result.
    """
    async with open_client() as client:
        overview = await _page(client, url, allowed_hosts)
        links = [link for link in overview.links if httpx.URL(link).host.lower() in allowed_hosts]
        gate = asyncio.Semaphore(AT_ONCE)

        async def detail(link: str) -> ParsedPage | FetchError:
            async with gate:
                try:
                    return await _page(client, link, allowed_hosts)
                except FetchError as exc:
                    return exc

        results = await asyncio.gather(*map(detail, links[:MAX_DETAIL_PAGES]))
    return CrawlResult(
        overview=overview,
        details=tuple(result for result in results if isinstance(result, ParsedPage)),
        failures=tuple(result for result in results if isinstance(result, FetchError)),
        links_left=max(0, len(links) - MAX_DETAIL_PAGES),
    )


async def _page(client: httpx.AsyncClient, url: str, allowed_hosts: Set[str]) -> ParsedPage:
    page = await fetch(client, url, allowed_hosts)
    # A large page takes a second to parse: not on the loop that all async handlers share.
    return await asyncio.to_thread(parse, page.url, page.body, page.charset)
