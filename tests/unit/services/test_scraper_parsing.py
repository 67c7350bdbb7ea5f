import pytest

from services.scraper.parsing import MAX_TEXT_LENGTH, parse

URL = "https://zones.example/list/"


@pytest.mark.parametrize(
    ("html", "title"),
    [
        ("<title>Tab</title><h1> The\n heading </h1>", "The heading"),
        ("<title>Tab</title><h1></h1>", "Tab"),
        ("no tags at all", URL),
        ("", URL),
        ("<h1>Unclosed <b>tags", "Unclosed tags"),
    ],
)
def test_the_title_is_the_heading_or_what_comes_nearest(html: str, title: str) -> None:
    assert parse(URL, html.encode()).title == title


def test_the_text_is_what_a_reader_sees() -> None:
    html = b"<body><script>x()</script><style>p{}</style><p>One</p>\n\n<p>two</p></body>"
    assert parse(URL, html).text == "One two"


def test_a_page_without_text_has_its_title_for_text() -> None:
    assert parse(URL, b"").text == URL


def test_a_long_text_is_cut() -> None:
    assert len(parse(URL, b"word " * 50_000).text) == MAX_TEXT_LENGTH


def test_the_charset_of_the_header_is_used() -> None:
    body = "<h1>Größe</h1>".encode("iso-8859-15")
    assert parse(URL, body, "iso-8859-15").title == "Größe"


@pytest.mark.parametrize(
    ("href", "links"),
    [
        ("one", (f"{URL}one",)),
        ("/one?a=1#part", ("https://zones.example/one?a=1",)),
        ("//other.example/", ("https://other.example/",)),
        (" two ", (f"{URL}two",)),
        ("#part", ()),
        ("", ()),
        (URL, ()),
        ("mailto:a@b.example", ()),
        ("javascript:alert(1)", ()),
        ("http://host:port/", ()),
        ("http:///nowhere", ()),
    ],
)
def test_links_are_absolute_and_to_be_fetched(href: str, links: tuple[str, ...]) -> None:
    assert parse(URL, f'<a href="{href}">x</a>'.encode()).links == links


def test_each_link_is_listed_once_in_the_order_of_the_page() -> None:
    html = b'<a href="b">1</a><a href="a">2</a><a href="b#x">3</a><a>none</a>'
    assert parse(URL, html).links == (f"{URL}b", f"{URL}a")
