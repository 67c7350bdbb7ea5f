"""The three services of the example, each with its own handlers and nothing between them faked."""

from messaging.testing import Harness
from services.document.handlers import communicator as documents
from services.scraper.handlers import communicator as scraper
from services.user.handlers import communicator as users
from tests.unit.services.conftest import Site, page


def test_what_is_scraped_for_a_user_is_stored_and_shows_in_what_happened_lately(
    bus: Harness, site: Site
) -> None:
    for service in (scraper, documents, users):
        bus.service(service)
    site.pages = {"/": page("All", "/a"), "/a": page("A")}
    bus.crash(documents.name, during="document.store", times=2)
    bus.crash(users.name, after="document.created")
    found = bus.request(scraper.name, "scrape.free.zones", {"url": site.url("/"), "userId": 123})
    assert found["documentsSent"] == 2
    lately = bus.request(users.name, "get.user.activity", {"userId": 123})
    assert sorted(entry["data"]["title"] for entry in lately) == ["A", "All"]
    assert bus.sent("document.created").times(2)
    assert len({fact.correlation_id for fact in bus.facts()}) == 2  # the two requests
    assert not bus.unaccounted()
