"""What user-service does with the messages it gets."""

from collections.abc import Mapping
from typing import Any, TypeGuard

from messaging import Envelope, Reject, ServiceCommunicator
from services.user.contracts import (
    DOCUMENT_EVENTS,
    GET_USER_ACTIVITY,
    GET_USER_DETAILS,
    SERVICE,
    ActivityEntry,
    GetUserActivity,
    GetUserDetails,
    UserDetails,
)
from services.user.models import Activity, User

communicator = ServiceCommunicator(SERVICE, version="1.0.0")


class UserNotFound(Reject):
    """There is no such user."""

    code = "not_found"


@communicator.on_message(GET_USER_DETAILS, schema=GetUserDetails, answers=UserDetails)
def get_user_details(wanted: GetUserDetails) -> UserDetails:
    """Answer with one user."""
    user = User.objects.filter(pk=wanted.user_id).first()
    if user is None:
        raise UserNotFound(f"there is no user {wanted.user_id}")
    return {"userId": user.pk, "name": user.name, "email": user.email, "country": user.country}


@communicator.on_message(GET_USER_ACTIVITY, schema=GetUserActivity, answers=list[ActivityEntry])
def get_user_activity(wanted: GetUserActivity) -> list[ActivityEntry]:
    """Answer with what happened lately, newest first."""
    activities = Activity.objects.all()
    if wanted.user_id is not None:
        activities = activities.filter(user_id=wanted.user_id)
    return [_entry(activity) for activity in activities[: wanted.limit]]


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


def _is_id(value: Any) -> TypeGuard[int]:
    # True and False are integers to Python; the database ends at 2**63 - 1.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
