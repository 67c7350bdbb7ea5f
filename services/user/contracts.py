"""The messages of user-service: the one file of it that another team needs to read.

Bad data and unknown users are answered with an error; asking again brings the same answer.
"""

from typing import Any, Final, NotRequired, TypedDict

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


class GetUserDetails(TypedDict):
    """Whose details are wanted."""

    userId: int


class UserDetails(TypedDict):
    """One user."""

    userId: int
    name: str
    email: str
    #: ISO 3166-1 alpha-2.
    country: str


class GetUserActivity(TypedDict):
    """Which activity is wanted: of one user, or of all."""

    userId: NotRequired[int]
    #: 1 to 100, 20 unless given.
    limit: NotRequired[int]


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
