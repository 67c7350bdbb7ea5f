"""What user-service does with the messages it gets."""

from collections.abc import Mapping
from typing import Any, TypeGuard

from messaging import Envelope, Reject, ServiceCommunicator
from services.user.contracts import (
    DEFAULT_LIMIT,
    DOCUMENT_EVENTS,
    GET_USER_ACTIVITY,
    GET_USER_DETAILS,
    MAX_LIMIT,
    SERVICE,
    ActivityEntry,
    UserDetails,
)
from services.user.models import Activity, User

communicator = ServiceCommunicator(SERVICE, version="1.0.0")


class InvalidData(Reject):
    """The message's data is not what the contract says; trying again changes nothing."""


class UserNotFound(Reject):
    """There is no such user."""


@communicator.on_message(GET_USER_DETAILS)
def get_user_details(data: Any) -> UserDetails:
    """Answer with one user."""
    user_id = _integer(_mapping(data), "userId")
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise UserNotFound(f"there is no user {user_id}")
    return {"userId": user.pk, "name": user.name, "email": user.email, "country": user.country}


@communicator.on_message(GET_USER_ACTIVITY)
def get_user_activity(data: Any) -> list[ActivityEntry]:
    """Answer with what happened lately, newest first."""
    wanted = _mapping(data)
    limit = _integer(wanted, "limit") if "limit" in wanted else DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidData(f"limit: expected 1 to {MAX_LIMIT}, got {limit}")
    activities = Activity.objects.all()
    if "userId" in wanted:
        activities = activities.filter(user_id=_integer(wanted, "userId"))
    return [_entry(activity) for activity in activities[:limit]]


@communicator.on_message(DOCUMENT_EVENTS)
def record_activity(data: Any, message: Envelope) -> None:
    """Keep an event about a document, once.

    Delivery is at least once: a worker killed after the insert and before its acknowledgement
    gets the same message again. The message id decides whether it is the same.
    """
    user_id = data.get("userId") if isinstance(data, Mapping) else None
    Activity.objects.get_or_create(
        message_id=message.id,
        defaults={
            "type": message.type,
            "user_id": user_id if _is_id(user_id) else None,
            "data": data,
            "at": message.created_at,
        },
    )


def _entry(activity: Activity) -> ActivityEntry:
    return {
        "messageId": activity.message_id,
        "type": activity.type,
        "userId": activity.user_id,
        "data": activity.data,
        "at": activity.at.isoformat(),
    }


def _mapping(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise InvalidData(f"expected an object, got {data!r:.100}")
    return data


def _integer(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key)
    if not _is_id(value):
        raise InvalidData(f"{key}: expected a whole number from 0, got {value!r:.100}")
    return value


def _is_id(value: Any) -> TypeGuard[int]:
    # True and False are integers to Python; the database ends at 2**63 - 1.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
