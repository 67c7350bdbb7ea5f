"""The site that `make docs` has built: complete, whole, and content with itself."""

import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect, sync_playwright

import messaging
import messaging.errors
import messaging.testing
from tests.browser.chromium import ARGUMENTS, executable
from tests.support.processes import ROOT

SITE: Final = ROOT / "build" / "site"
LOADS: Final = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "srcset"}
#: Prose, pictures, wide tables, drawings, long lines, signatures, sources.
OF_EACH_KIND: Final = (
    *(
        "index",
        "try_it",
        "architecture",
        "performance",
        "guarantees",
        "wire_protocol",
        "log_events",
    ),
    *("reference/services", "reference/commands", "source/Procfile"),
)
#: Places of a page, in the theme, that its own script fills.
OF_THE_THEME: Final = frozenset({"__search", "__drawer"})


class Document(NamedTuple):
    """What a page loads, where it leads, and what can be led to."""

    loaded: set[str]
    links: set[str]
    anchors: set[str]


class Reader(HTMLParser):
    """Reads a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.document = Document(set(), set(), set())
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value for name, value in attrs if value}
        if tag == "a" and "href" in known:
            self.document.links.add(known["href"])
        is_told = tag == "link" and known.get("rel") in {"next", "prev", "canonical"}
        if LOADS.get(tag, "") in known and not is_told:
            self.document.loaded.add(known[LOADS[tag]])
        if "id" in known:
            self.document.anchors.add(known["id"])


@pytest.fixture(scope="module")
def documents() -> dict[Path, Document]:
    found = {path: Reader(path.read_text()).document for path in SITE.rglob("*.html")}
    assert found, "`make docs` builds the site"
    return found


def test_nothing_is_loaded_from_elsewhere(documents: dict[Path, Document]) -> None:
    loaded = {each for document in documents.values() for each in document.loaded}
    assert {each for each in loaded if urlsplit(each).netloc} == set()
    styles = "".join(path.read_text() for path in SITE.rglob("*.css"))
    fetched = re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')]+)", styles)
    assert {each for each in fetched if urlsplit(each).netloc} == set()
    # Its script would have the theme fetch what draws them.
    assert not any("mermaid" in path.read_text() for path in documents)


def test_every_link_within_the_site_leads_somewhere(documents: dict[Path, Document]) -> None:
    broken = []
    for page, document in documents.items():
        for link in sorted(document.links | document.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or page.name == "404.html":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchor = unquote(parts.fragment)
            if not target.is_file() or (
                anchor
                and target.suffix == ".html"
                and anchor not in documents[target].anchors | OF_THE_THEME
            ):
                broken.append(f"{page.relative_to(SITE)}: {link}")
    assert broken == []


def test_all_that_is_public_has_its_place(documents: dict[Path, Document]) -> None:
    anchors = {anchor for document in documents.values() for anchor in document.anchors}
    is_error = messaging.errors.__dict__
    public = {
        f"messaging.{'errors.' if name in is_error else ''}{name}" for name in messaging.__all__
    }
    public |= {f"messaging.testing.{name}" for name in messaging.testing.__all__}
    members = {"ServiceCommunicator.on_message", "ServiceCommunicator.request", "Envelope.data"}
    members |= {"testing.Harness.crash", "events.message_stuck", "MessagingConfig.from_mapping"}
    assert public | {f"messaging.{name}" for name in members} <= anchors


def test_every_decision_has_its_page() -> None:
    decisions = {path.stem for path in (ROOT / "docs" / "adr").glob("*.md")}
    assert {path.stem for path in (SITE / "adr").glob("*.html")} == decisions


def test_names_in_docstrings_lead_to_what_they_name(documents: dict[Path, Document]) -> None:
    page = SITE / "reference" / "services.html"
    links = documents[page].links
    assert "errors.html#messaging.errors.Reject" in links
    assert "#messaging.ServiceCommunicator.send_to_service" in links


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = executable()
    if found is None:
        text = "no Chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail(text)
        pytest.skip(text)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [1440, 390])
def test_read_as_files_it_is_searched_and_asks_nobody(browser: Browser, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((SITE / "index.html").as_uri())
    if width < 1000:
        page.locator("label[for=__search].md-header__button").click()
    words = page.locator("input.md-search__input")
    words.focus()
    # What is typed before it is ready is not looked for.
    expect(page.locator(".md-search-result__meta")).not_to_contain_text("Initializing")
    words.press_sequentially("drop_receipts")
    found = page.locator(".md-search-result__link")
    expect(found.filter(has_text="messaging.testing").first).to_be_visible()
    expect(found.filter(has_text="Testing a service").first).to_be_visible()
    found.first.click()
    expect(page.locator("article")).to_contain_text("drop_receipts")
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert errors == []
    page.close()


def test_no_page_is_wider_than_a_telephone(browser: Browser) -> None:
    """What is wider, such as a table, is scrolled by itself."""
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.route("**/*.{png,woff2}", lambda route: route.abort())  # of no consequence here
    wide = []
    for name in OF_EACH_KIND:
        page.goto((SITE / f"{name}.html").as_uri(), wait_until="domcontentloaded")
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(name)
    page.close()
    assert wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(browser: Browser, scheme: Literal["light", "dark"]) -> None:
    page = browser.new_page(color_scheme=scheme)
    serious = []
    for name in ("index", "first_service", "reference/settings"):
        page.goto((SITE / f"{name}.html").as_uri())
        found = Axe().run(page).response["violations"]
        serious += [
            f"{name}: {each['id']}: {each['nodes'][0]['html']}"
            for each in found
            if each["impact"] in {"serious", "critical"}
        ]
    page.close()
    assert serious == []


def test_what_is_copied_of_a_console_is_what_was_typed(browser: Browser) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto((SITE / "first_service.html").as_uri())
    console = page.locator("div.highlight", has_text="bus_request")
    console.hover()
    console.locator("[data-md-type=copy]").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    context.close()
    typed = [line for line in copied.splitlines() if line]
    assert typed[0] == ". .venv/bin/activate"
    assert typed[1].startswith("python manage.py bus_request")
    assert typed[2].startswith("curl -X POST")
    assert len(typed) == 3
