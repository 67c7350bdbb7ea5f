import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from messaging import Envelope, InvalidData
from messaging.envelope import MessageKind, expiry, new_message_id, utc_now
from messaging.testing import Harness
from services.user.contracts import SERVICE
from services.user.handlers import UserNotFound, communicator, record_activity
from services.user.models import User
from tests.unit.services.conftest import handle

pytestmark = pytest.mark.django_db


def event(data: Any, age_seconds: float = 0.0) -> Envelope:
    message_id = new_message_id()
    return Envelope(
        id=message_id,
        type="document.created",
        kind=MessageKind.EVENT,
        source="document-service",
        data=data,
        created_at=expiry(utc_now(), -age_seconds) or utc_now(),
        correlation_id=message_id,
    )


def get_user_details(data: Any) -> Any:
    return handle(communicator, "get.user.details", data)


def get_user_activity(data: Any) -> Any:
    return handle(communicator, "get.user.activity", data)


def test_a_fresh_database_knows_user_123(migrated_database: Path) -> None:
    with closing(sqlite3.connect(migrated_database)) as fresh:
        found = fresh.execute("SELECT * FROM user_user WHERE id = 123").fetchall()
    assert found == [(123, "Ada Lovelace", "ada@example.com", "GB")]


def test_a_user_is_told_with_all_that_is_known() -> None:
    User.objects.create(id=7, name="Joan", email="joan@example.com", country="FR")
    assert get_user_details({"userId": 7}) == {
        "userId": 7,
        "name": "Joan",
        "email": "joan@example.com",
        "country": "FR",
    }


def test_an_unknown_user_is_a_clear_error() -> None:
    with pytest.raises(UserNotFound, match="there is no user 9") as caught:
        get_user_details({"userId": 9})
    assert caught.value.code == "not_found"


@pytest.mark.parametrize(
    "data", [{}, [], None, {"userId": "123"}, {"userId": True}, {"userId": 2**63}]
)
def test_bad_data_is_refused(data: Any) -> None:
    with pytest.raises(InvalidData):
        get_user_details(data)


def test_an_event_delivered_twice_is_recorded_once(bus: Harness) -> None:
    bus.service(communicator)
    bus.duplicate("document.created")
    data = {"id": 1, "userId": 123}
    message_id = bus.broadcast("document.created", data)
    assert bus.handled("document.created").times(2)
    assert bus.request(SERVICE, "get.user.activity", {"userId": 123}) == [
        {
            "messageId": message_id,
            "type": "document.created",
            "userId": 123,
            "data": data,
            "at": bus.now().isoformat(),
        }
    ]


@pytest.mark.parametrize("data", [None, [1], "text", {}, {"userId": "x"}])
def test_an_event_that_names_no_user_is_recorded_all_the_same(data: Any) -> None:
    message = event(data)
    record_activity(message.data, message)
    [entry] = get_user_activity({})
    assert (entry["userId"], entry["data"]) == (None, data)


def test_activity_comes_newest_first_and_of_one_user_if_wanted() -> None:
    old, new, other = (
        event({"userId": 1}, age_seconds=60),
        event({"userId": 1}),
        event({"userId": 2}),
    )
    for message in (new, old, other):
        record_activity(message.data, message)
    assert [e["messageId"] for e in get_user_activity({"userId": 1})] == [new.id, old.id]
    assert len(get_user_activity({})) == 3
    assert [e["messageId"] for e in get_user_activity({"userId": 1, "limit": 1})] == [new.id]


@pytest.mark.parametrize("limit", [0, 101, "5", None])
def test_a_limit_outside_its_bounds_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidData, match="limit"):
        get_user_activity({"limit": limit})


def test_every_document_event_is_subscribed_to() -> None:
    assert "document.*" in communicator.bus.handlers.patterns()
