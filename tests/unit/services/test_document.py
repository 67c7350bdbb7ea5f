from datetime import timedelta
from typing import Any

import pytest

from messaging import BrokerUnavailable, Envelope, InvalidData, MessagePriority
from messaging.envelope import MessageKind, new_message_id, utc_now
from services.document.contracts import DocumentViewed
from services.document.handlers import DocumentNotFound, communicator, note_view
from services.document.models import Document
from tests.unit.services.conftest import handle

pytestmark = pytest.mark.django_db

DATA = {"url": "https://zones.example/a", "title": "A", "text": "About A.", "userId": 7}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the service broadcasts, instead of broadcasting it, and what was stored by then."""
    events: list[Any] = []

    def broadcast(message_type: str, data: Any, *, priority: MessagePriority) -> None:
        events.append((message_type, data, priority, Document.objects.count()))

    monkeypatch.setattr(communicator, "broadcast", broadcast)
    return events


def store_document(data: Any) -> Any:
    return handle(communicator, "document.store", data)


def get_document(data: Any) -> Any:
    return handle(communicator, "document.get", data)


def list_documents(data: Any) -> Any:
    return handle(communicator, "document.list", data)


def test_a_new_document_is_stored_and_then_announced(said: list[Any]) -> None:
    answer = store_document(DATA)
    assert answer["isNew"]
    data = {"id": answer["id"], "url": DATA["url"], "title": "A", "userId": 7}
    assert said == [("document.created", data, MessagePriority.HIGH, 1)]


def test_the_same_document_is_stored_and_announced_once(said: list[Any]) -> None:
    first, second = store_document(DATA), store_document({**DATA, "title": "Another title"})
    assert second == {"id": first["id"], "isNew": False}
    assert len(said) == 1


@pytest.mark.parametrize("change", [{"url": "https://zones.example/b"}, {"text": "About B."}])
def test_another_url_or_text_is_another_document(said: list[Any], change: dict[str, str]) -> None:
    store_document(DATA)
    assert store_document({**DATA, **change})["isNew"]
    assert len(said) == 2


def test_a_document_whose_announcement_failed_is_announced_when_it_comes_again(
    said: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise BrokerUnavailable

    with monkeypatch.context() as broken:
        broken.setattr(communicator, "broadcast", fail)
        with pytest.raises(BrokerUnavailable):
            store_document(DATA)
    assert store_document(DATA)["isNew"] is False
    assert len(said) == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"url": None}, "url: Input should be a valid string"),
        ({"url": ""}, "url: String should have at least 1"),
        ({"url": "x" * 2001}, "url: String should have at most 2000"),
        ({"title": 5}, "title"),
        ({"text": ["a"]}, "text"),
        ({"userId": "7"}, "userId: Input should be a valid integer"),
    ],
)
def test_bad_data_is_refused_with_the_reason(
    said: list[Any], change: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidData, match=text):
        store_document({**DATA, **change})
    assert said == []
    assert not Document.objects.exists()


def test_a_long_title_is_cut(said: list[Any]) -> None:
    stored = store_document({**DATA, "title": "t" * 301})
    assert get_document({"id": stored["id"]})["title"] == "t" * 300


def test_documents_are_listed_newest_first_without_their_text(said: list[Any]) -> None:
    ids = [store_document({**DATA, "text": text})["id"] for text in ("one", "two")]
    listed = list_documents({})
    assert [document["id"] for document in listed] == ids[::-1]
    assert "text" not in listed[0]
    assert len(list_documents({"limit": 1})) == 1


def test_an_unknown_document_is_a_clear_error() -> None:
    with pytest.raises(DocumentNotFound, match="there is no document 5") as caught:
        get_document({"id": 5})
    assert caught.value.code == "not_found"


def test_views_may_come_twice_and_out_of_order(said: list[Any]) -> None:
    stored = store_document(DATA)
    late = viewed(stored["id"], minutes_ago=0)
    early = viewed(stored["id"], minutes_ago=5)
    for message in (late, early, late):
        note_view(DocumentViewed.model_validate(message.data), message)
    document = get_document({"id": stored["id"]})
    assert document["lastViewedAt"] == late.created_at.isoformat()


def viewed(document_id: int, minutes_ago: int) -> Envelope:
    message_id = new_message_id()
    return Envelope(
        id=message_id,
        type="document.viewed",
        kind=MessageKind.EVENT,
        source="tester",
        data={"id": document_id},
        created_at=utc_now() - timedelta(minutes=minutes_ago),
        correlation_id=message_id,
    )
