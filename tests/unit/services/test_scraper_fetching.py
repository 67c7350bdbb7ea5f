import asyncio
import gzip

import pytest

from services.scraper import fetching
from services.scraper.fetching import FetchedPage, FetchError, HostNotAllowed, fetch, open_client
from tests.unit.services.conftest import HTML, Answer, Site, page, redirect

LOCAL = frozenset({"127.0.0.1"})


def get(url: str, hosts: frozenset[str] = LOCAL) -> FetchedPage:
    async def run() -> FetchedPage:
        async with open_client() as client:
            return await fetch(client, url, hosts)

    return asyncio.run(run())


def failure(url: str, hosts: frozenset[str] = LOCAL) -> FetchError:
    with pytest.raises(FetchError) as caught:
        get(url, hosts)
    return caught.value


def test_a_page_comes_with_its_bytes_and_charset(site: Site) -> None:
    site.pages["/"] = Answer(
        "<p>Größe</p>".encode("latin-1"), headers={"Content-Type": "text/html; charset=ISO-8859-1"}
    )
    fetched = get(site.url("/"))
    assert fetched.body == "<p>Größe</p>".encode("latin-1")
    assert fetched.charset == "iso-8859-1"


def test_a_redirect_on_the_same_host_is_followed(site: Site) -> None:
    site.pages = {"/old": redirect("/new"), "/new": page("New")}
    assert get(site.url("/old")).url == site.url("/new")


def test_a_redirect_to_another_host_is_refused_before_it_is_asked(site: Site) -> None:
    # localhost is this very server under a name that is not on the list.
    site.pages = {"/": redirect(site.url("/secret", host="localhost")), "/secret": page("Secret")}
    error = failure(site.url("/"))
    assert isinstance(error, HostNotAllowed)
    assert "localhost" in str(error)
    assert site.requested == ["/"]


def test_a_second_redirect_is_checked_as_well(site: Site) -> None:
    site.pages = {"/": redirect("/next"), "/next": redirect("http://metadata.internal/")}
    assert isinstance(failure(site.url("/")), HostNotAllowed)
    assert site.requested == ["/", "/next"]


@pytest.mark.parametrize(
    "url",
    ["http://localhost/", "http://127.0.0.1@localhost/", "http://127.0.0.1.evil.example/"],
)
def test_a_url_on_another_host_is_refused(url: str) -> None:
    assert isinstance(failure(url), HostNotAllowed)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/", "127.0.0.1", ""])
def test_only_http_is_fetched(url: str) -> None:
    assert "expected http or https" in str(failure(url, frozenset({"127.0.0.1", ""})))


def test_redirects_in_a_circle_end(site: Site) -> None:
    site.pages["/"] = redirect("/")
    assert "more than 5 redirects" in str(failure(site.url("/")))
    assert len(site.requested) == 6


def test_a_page_over_the_limit_is_not_read_to_its_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_PAGE_BYTES", 1000)
    site.pages["/"] = Answer(b"x" * 1001)
    assert "larger than 1,000 bytes" in str(failure(site.url("/")))


def test_the_limit_counts_what_was_unpacked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_PAGE_BYTES", 1000)
    site.pages["/"] = Answer(
        gzip.compress(b"x" * 100_000), headers={"Content-Type": HTML, "Content-Encoding": "gzip"}
    )
    assert "larger than" in str(failure(site.url("/")))


@pytest.mark.parametrize("headers", [{"Content-Type": "application/pdf"}, {}])
def test_what_is_not_html_is_refused(site: Site, headers: dict[str, str]) -> None:
    site.pages["/"] = Answer(b"%PDF", headers=headers)
    assert "expected HTML" in str(failure(site.url("/")))


@pytest.mark.parametrize(
    ("status", "retryable"), [(404, False), (410, False), (429, True), (503, True)]
)
def test_an_error_status_says_whether_to_ask_again(
    site: Site, status: int, retryable: bool
) -> None:
    site.pages["/"] = Answer(status=status)
    error = failure(site.url("/"))
    assert str(status) in error.reason
    assert error.retryable is retryable


def test_a_server_that_is_not_there_may_be_there_later() -> None:
    assert failure("http://127.0.0.1:9/").retryable


def test_a_page_that_takes_too_long_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "PAGE_SECONDS", 0.0)
    site.pages["/"] = page("Slow")
    error = failure(site.url("/"))
    assert error.reason == "no page within 0 s"
    assert error.retryable
