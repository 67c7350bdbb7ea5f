"""Fetching one page: from allowed hosts only, HTML only, within limits of time and size."""

import asyncio
from collections.abc import Set
from dataclasses import dataclass
from typing import Final

import httpx

#: For one page with all its redirects. Servers that trickle bytes are cut off too.
PAGE_SECONDS: Final = 5.0
#: Sites need two or three (http to https, to www, to a language); more is a loop.
MAX_REDIRECTS: Final = 5
#: After decompression. Far above any page of text, and small enough to hold several at once.
MAX_PAGE_BYTES: Final = 2_000_000
#: document-service keeps no document from a longer one.
MAX_URL_LENGTH: Final = 2000
HTML_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})

#: Too many requests, and everything a server says when it is not well at the moment.
_PASSING_STATUS: Final = frozenset({429, 500, 502, 503, 504})


class FetchError(Exception):
    """A page could not be had.

    Attributes:
        url: the page.
        reason: why, for people.
        retryable: whether asking again may help; the requester is told.
    """

    def __init__(self, url: str, reason: str, *, retryable: bool = False) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = reason
        self.retryable = retryable


class HostNotAllowed(FetchError):
    """A page, or the redirect away from it, is on a host that the requester did not name."""


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """An HTML page as it came."""

    #: After redirects.
    url: str
    body: bytes
    #: From the Content-Type header; None where it names none.
    charset: str | None


def open_client() -> httpx.AsyncClient:
    """Return a client that follows no redirect by itself: `fetch` looks at each one first."""
    return httpx.AsyncClient(
        follow_redirects=False,
        timeout=PAGE_SECONDS,
        headers={"User-Agent": "scraper-service/1.0"},
        # Nothing but the request decides where pages come from, least of all HTTP_PROXY.
        trust_env=False,
    )


async def fetch(client: httpx.AsyncClient, url: str, allowed_hosts: Set[str]) -> FetchedPage:
    """Return the page at a URL.

    Args:
        client: from `open_client`.
        url: http or https.
        allowed_hosts: host names in lower case. Names are compared, not addresses.

    Raises:
        HostNotAllowed: it is elsewhere, or leads elsewhere. Nothing was fetched from there.
        FetchError: no answer, an error status, no HTML, or over a limit.
    """
    try:
        async with asyncio.timeout(PAGE_SECONDS):
            return await _follow(client, url, allowed_hosts)
    except TimeoutError as exc:
        raise FetchError(url, f"no page within {PAGE_SECONDS:g} s", retryable=True) from exc
    except httpx.InvalidURL as exc:
        raise FetchError(url, f"not a URL: {exc}") from exc
    except httpx.HTTPError as exc:
        reason = str(exc) or type(exc).__name__
        raise FetchError(url, reason, retryable=isinstance(exc, httpx.TransportError)) from exc


async def _follow(client: httpx.AsyncClient, url: str, allowed_hosts: Set[str]) -> FetchedPage:
    target = httpx.URL(url)
    for _ in range(MAX_REDIRECTS + 1):
        _require_allowed(target, allowed_hosts)
        async with client.stream("GET", target) as response:
            if response.next_request is None:
                return await _read(response)
            target = response.next_request.url
    raise FetchError(url, f"more than {MAX_REDIRECTS} redirects")


def _require_allowed(url: httpx.URL, allowed_hosts: Set[str]) -> None:
    if url.scheme not in ("http", "https"):
        raise FetchError(str(url), f"expected http or https, got {url.scheme!r}")
    if len(str(url)) > MAX_URL_LENGTH:
        raise FetchError(str(url), f"longer than {MAX_URL_LENGTH} characters")
    if url.host.lower() not in allowed_hosts:
        allowed = ", ".join(sorted(allowed_hosts))
        raise HostNotAllowed(str(url), f"host {url.host!r} is not one of {allowed}")


async def _read(response: httpx.Response) -> FetchedPage:
    url = str(response.url)
    if not response.is_success:
        raise FetchError(
            url,
            f"{response.status_code} {response.reason_phrase}".rstrip(),
            retryable=response.status_code in _PASSING_STATUS,
        )
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type not in HTML_TYPES:
        raise FetchError(url, f"expected HTML, got {media_type or 'no content type'}")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_PAGE_BYTES:
            raise FetchError(url, f"larger than {MAX_PAGE_BYTES:,} bytes")
    return FetchedPage(url=url, body=bytes(body), charset=response.charset_encoding)
