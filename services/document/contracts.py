"""The messages of document-service: the one file of it that another team needs to read.

Bad data is answered with an error of the code ``invalid`` where it came as a request, and becomes
a dead letter where it came as a command.
"""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from services.document.limits import MAX_URL_LENGTH

SERVICE: Final = "document-service"

#: Command `StoreDocument`; as a request it is answered with `DocumentStored`.
DOCUMENT_STORE: Final = "document.store"
#: Request `GetDocument`, answered with `DocumentDetails`.
DOCUMENT_GET: Final = "document.get"
#: Request `ListDocuments`, answered with a list of `DocumentSummary`, newest first.
DOCUMENT_LIST: Final = "document.list"

#: Event `DocumentCreated`, said by this service once a new document is stored. HIGH.
DOCUMENT_CREATED: Final = "document.created"
#: Event `DocumentViewed`, said by whoever shows a document; this service listens.
DOCUMENT_VIEWED: Final = "document.viewed"

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100

#: A whole number, as large as a database takes.
Id = Annotated[int, Field(ge=0, lt=2**63)]


class Incoming(BaseModel):
    """What this service takes; names are written ``userId`` in JSON."""

    # Strict: neither "7" nor true is a number.
    model_config = ConfigDict(strict=True, alias_generator=to_camel)


class StoreDocument(Incoming):
    """A document to keep. The same text from the same URL is the same document."""

    #: Where it came from.
    url: str = Field(min_length=1, max_length=MAX_URL_LENGTH)
    #: Cut to 300 characters.
    title: str = Field(min_length=1)
    text: str = Field(min_length=1)
    #: The user it is for.
    user_id: Id | None = None


class DocumentStored(TypedDict):
    """What became of it."""

    id: int
    #: False: this document had been stored before.
    isNew: bool


class GetDocument(Incoming):
    """Which document is wanted."""

    id: Id


class ListDocuments(Incoming):
    """How many documents are wanted."""

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)


class DocumentSummary(TypedDict):
    """A document without its text."""

    id: int
    url: str
    title: str
    userId: int | None
    #: ISO 8601.
    storedAt: str
    #: ISO 8601; None: nobody has looked at it yet.
    lastViewedAt: str | None


class DocumentDetails(DocumentSummary):
    """A document with its text."""

    text: str


class DocumentCreated(TypedDict):
    """There is a new document. Rarely said twice: when the service died while saying it."""

    id: int
    url: str
    title: str
    userId: int | None


class DocumentViewed(Incoming):
    """Somebody has looked at a document."""

    id: Id
    #: Who, where known.
    user_id: Id | None = None
