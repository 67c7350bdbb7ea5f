"""The messages of scraper-service: the one file of it that another team needs to read."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from services.scraper.fetching import MAX_URL_LENGTH

SERVICE: Final = "scraper-service"

#: Request `ScrapeFreeZones`, answered with `FreeZonesFound` or an error that says whether asking
#: again may help. Also ``POST /api/scraper/free-zones``.
SCRAPE_FREE_ZONES: Final = "scrape.free.zones"
FREE_ZONES_PATH: Final = "/api/scraper/free-zones"

#: Where every page goes, as command `PageFound`.
DOCUMENT_SERVICE: Final = "document-service"
DOCUMENT_STORE: Final = "document.store"

#: A whole number, as large as a database takes.
UserId = Annotated[int, Field(ge=0, lt=2**63)]

#: Far more than any overview page is spread over.
MAX_ALLOWED_HOSTS: Final = 20


class ScrapeFreeZones(BaseModel):
    """An overview page that links to one page for each free zone.

    Names are written ``allowedHosts`` in JSON. What is wrong with it is answered with the code
    ``invalid``.
    """

    # Strict: neither "7" nor true is a number.
    model_config = ConfigDict(strict=True, alias_generator=to_camel)

    #: http or https.
    url: str
    #: The only hosts that pages are fetched from, redirects included; unless given, the URL's own.
    allowed_hosts: list[str] | None = Field(
        default=None, min_length=1, max_length=MAX_ALLOWED_HOSTS
    )
    #: The user it is for; goes into the documents.
    user_id: UserId | None = None


class FreeZone(TypedDict):
    """The page of one free zone."""

    name: str
    url: str


class SkippedPage(TypedDict):
    """A page that was linked and could not be had."""

    url: str
    reason: str


class FreeZonesFound(TypedDict):
    """What was found. Every page is on its way to document-service, the overview too."""

    #: Of the overview, after redirects.
    url: str
    title: str
    zones: list[FreeZone]
    skipped: list[SkippedPage]
    #: Links not followed because there were more than one scrape may follow.
    linksLeft: int
    #: How many documents were sent.
    documentsSent: int


class PageFound(TypedDict):
    """A page, to be kept as a document."""

    url: Annotated[str, Field(min_length=1, max_length=MAX_URL_LENGTH)]
    title: Annotated[str, Field(min_length=1)]
    text: Annotated[str, Field(min_length=1)]
    userId: UserId | None
