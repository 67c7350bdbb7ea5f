import asyncio
from typing import Any

import pytest

from messaging import RemoteError
from messaging.testing import Harness
from services.scraper import crawling
from services.scraper.contracts import SERVICE
from services.scraper.crawling import CrawlResult, crawl
from services.scraper.fetching import FetchError
from services.scraper.handlers import communicator
from tests.unit.services.conftest import Site, page, redirect

LOCAL = frozenset({"127.0.0.1"})


def scrape(url: str) -> CrawlResult:
    return asyncio.run(crawl(url, LOCAL))


def test_the_linked_pages_are_fetched_in_their_order(site: Site) -> None:
    site.pages = {"/": page("All", "/b", "/a"), "/a": page("A"), "/b": page("B", "/deeper")}
    found = scrape(site.url("/"))
    assert [detail.title for detail in found.details] == ["B", "A"]
    assert sorted(site.requested) == ["/", "/a", "/b"]


def test_a_link_to_another_host_is_not_followed(site: Site) -> None:
    elsewhere = site.url("/other", host="localhost")
    site.pages = {"/": page("All", elsewhere, "/a"), "/a": page("A"), "/other": page("Other")}
    found = scrape(site.url("/"))
    assert [detail.title for detail in found.details] == ["A"]
    assert found.failures == ()
    assert "/other" not in site.requested


def test_a_page_that_cannot_be_had_does_not_cost_the_others(site: Site) -> None:
    site.pages = {
        "/": page("All", "/gone", "/away", "/a"),
        "/away": redirect(site.url("/secret", host="localhost")),
        "/a": page("A"),
    }
    found = scrape(site.url("/"))
    assert [detail.title for detail in found.details] == ["A"]
    assert [error.reason[:14] for error in found.failures] == ["404 Not Found", "host 'localhos"]


def test_the_number_of_pages_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawling, "MAX_DETAIL_PAGES", 2)
    site.pages = {"/": page("All", "/1", "/2", "/3"), "/1": page("1"), "/2": page("2")}
    found = scrape(site.url("/"))
    assert len(found.details) == 2
    assert found.links_left == 1
    assert "/3" not in site.requested


def test_without_an_overview_there_is_an_error(site: Site) -> None:
    with pytest.raises(FetchError, match="404"):
        scrape(site.url("/"))


@pytest.fixture
def bus(bus_without_database: Harness) -> Harness:
    """The scraper keeps nothing: it needs no database."""
    bus_without_database.service(communicator)
    return bus_without_database


def ask(bus: Harness, data: Any) -> Any:
    return bus.request(SERVICE, "scrape.free.zones", data)


def test_every_page_goes_to_the_document_service(site: Site, bus: Harness) -> None:
    site.pages = {"/": page("All", "/a", "/gone"), "/a": page("A")}
    answer = ask(bus, {"url": site.url("/"), "userId": 7})
    assert answer == {
        "url": site.url("/"),
        "title": "All",
        "zones": [{"name": "A", "url": site.url("/a")}],
        "skipped": [{"url": site.url("/gone"), "reason": "404 Not Found"}],
        "linksLeft": 0,
        "documentsSent": 2,
    }
    sent = bus.sent("document.store", target="document-service")
    assert sent.data[1:] == [
        {"url": site.url("/a"), "title": "A", "text": "A About it.", "userId": 7}
    ]
    asked = bus.sent("scrape.free.zones").only
    assert {fact.causation_id for fact in sent} == {asked.message_id}


def test_the_hosts_of_the_request_replace_the_one_of_the_url(site: Site, bus: Harness) -> None:
    site.pages = {
        "/": redirect(site.url("/new", host="localhost")),
        "/new": page("New", site.url("/a")),
        "/a": page("A"),
    }
    data = {"url": site.url("/"), "allowedHosts": ["LOCALHOST", "127.0.0.1"]}
    assert [zone["name"] for zone in ask(bus, data)["zones"]] == ["A"]


def test_hosts_without_the_one_of_the_url_refuse_it(site: Site, bus: Harness) -> None:
    with pytest.raises(RemoteError, match="is not one of localhost"):
        ask(bus, {"url": site.url("/"), "allowedHosts": ["localhost"]})
    assert site.requested == []
    assert bus.sent("document.store").never


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([], "data: "),
        ({}, "url: Field required"),
        ({"url": 5}, "url: Input should be a valid string"),
        ({"url": "http://a\x00b/"}, "url:"),
        ({"url": "http://a/", "allowedHosts": "a"}, "allowedHosts: Input should be a valid array"),
        ({"url": "http://a/", "allowedHosts": []}, "allowedHosts"),
        ({"url": "http://a/", "allowedHosts": [5]}, "allowedHosts"),
        ({"url": "http://a/", "allowedHosts": ["a"] * 21}, "allowedHosts"),
        ({"url": "http://a/", "userId": "7"}, "userId: Input should be a valid integer"),
        ({"url": "http://a/", "userId": True}, "userId"),
        ({"url": "http://a/", "userId": -1}, "userId"),
    ],
)
def test_bad_data_is_refused_with_the_reason(bus: Harness, data: Any, text: str) -> None:
    with pytest.raises(RemoteError, match=text) as caught:
        ask(bus, data)
    assert caught.value.code == "invalid"


def test_the_gateway_is_told_the_route() -> None:
    [route] = communicator.identity.routes
    assert route.to_json() == {
        "path": "/api/scraper/free-zones",
        "methods": ["POST"],
        "message": "scrape.free.zones",
    }
    assert "scrape.free.zones" in communicator.bus.handlers.types()
