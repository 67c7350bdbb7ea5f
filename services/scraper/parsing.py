"""What is on a page: its title, its text, its links."""

from dataclasses import dataclass
from typing import Final

import httpx
from bs4 import BeautifulSoup

#: Four bytes a character at worst: a document message stays under ``max_message_bytes`` (256 KiB).
MAX_TEXT_LENGTH: Final = 50_000
#: Tags whose content nobody reads.
_INVISIBLE: Final = ("script", "style", "noscript", "template")


@dataclass(frozen=True, slots=True)
class ParsedPage:
    """What a reader sees of a page."""

    url: str
    #: The heading, or the title, or the URL: never empty.
    title: str
    #: Cut to `MAX_TEXT_LENGTH`; the title where the page has no text: never empty.
    text: str
    #: Absolute http and https links in their order, each once, without fragments.
    links: tuple[str, ...]


def parse(url: str, body: bytes, charset: str | None = None) -> ParsedPage:
    """Return what is on a page; whatever is wrong with its HTML, there is a result.

    Args:
        url: of the page; relative links start there.
        body: the HTML.
        charset: of the body, where the server said so.
    """
    soup = BeautifulSoup(body, "html.parser", from_encoding=charset)
    for tag in soup(_INVISIBLE):
        tag.decompose()
    title = _title(soup) or url
    text = " ".join((soup.body or soup).get_text(" ").split())
    return ParsedPage(
        url=url, title=title, text=text[:MAX_TEXT_LENGTH] or title, links=_links(soup, url)
    )


def _title(soup: BeautifulSoup) -> str:
    for name in ("h1", "title"):
        tag = soup.find(name)
        title = " ".join(tag.get_text(" ").split()) if tag else ""
        if title:
            return title
    return ""


def _links(soup: BeautifulSoup, url: str) -> tuple[str, ...]:
    base, found = httpx.URL(url), dict[str, None]()
    for anchor in soup.find_all("a", href=True):
        try:
            link = base.join(str(anchor["href"]).strip()).copy_with(fragment=None)
        except httpx.InvalidURL:
            continue  # a typing error of the page's author; there is nothing to fetch
        if link.scheme in ("http", "https") and link.host:
            found[str(link)] = None
    found.pop(str(base.copy_with(fragment=None)), None)
    return tuple(found)
