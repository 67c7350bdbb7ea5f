"""The messages of user-service: the one file of it that another team needs to read.

Bad data is answered with an error of the code ``invalid``, an unknown user with ``not_found``;
asking again brings the same answer.
"""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

SERVICE: Final = "user-service"

#: Request `GetUserDetails`, answered with `UserDetails`.
GET_USER_DETAILS: Final = "get.user.details"
#: Request `GetUserActivity`, answered with a list of `ActivityEntry`, newest first.
GET_USER_ACTIVITY: Final = "get.user.activity"

#: Events this service listens to and keeps as activity, whatever else their data holds.
DOCUMENT_EVENTS: Final = "document.*"

DEFAULT_LIMIT: Final = 20
#: An answer of this many entries stays far below the size limit of a message.
MAX_LIMIT: Final = 100


#: A whole number, as large as a database takes.
UserId = Annotated[int, Field(ge=0, lt=2**63)]


class Request(BaseModel):
    """What is asked of this service; names are written ``userId`` in JSON."""

    # Strict: neither "7" nor true is a number.
    model_config = ConfigDict(strict=True, alias_generator=to_camel)


class GetUserDetails(Request):
    """Whose details are wanted."""

    user_id: UserId


class UserDetails(TypedDict):
    """One user."""

    userId: int
    name: str
    email: str
    #: ISO 3166-1 alpha-2.
    country: str


class GetUserActivity(Request):
    """Which activity is wanted: of one user, or of all."""

    user_id: UserId | None = None
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)


class ActivityEntry(TypedDict):
    """One event about a document, as it was recorded."""

    #: Id of the event; the same event is recorded once, however often it is delivered.
    messageId: str
    type: str
    #: The user it concerns; None where the event named nobody.
    userId: int | None
    data: Any
    #: ISO 8601, when the event was said.
    at: str
