import re
from typing import Any

import pytest

from messaging import RemoteError
from messaging.testing import Harness
from services.document.contracts import SERVICE
from services.document.handlers import communicator
from services.document.models import Document

DATA = {"url": "https://zones.example/a", "title": "A", "text": "About A.", "userId": 7}


@pytest.fixture(autouse=True)
def _runs(bus: Harness) -> None:
    bus.service(communicator)


def store(bus: Harness, **changes: Any) -> Any:
    return bus.request(SERVICE, "document.store", {**DATA, **changes})


def test_a_new_document_is_stored_and_then_announced(bus: Harness) -> None:
    answer = store(bus)
    assert answer == {"id": Document.objects.get().pk, "isNew": True}
    event = bus.sent("document.created").only
    assert event.data == {"id": answer["id"], "url": DATA["url"], "title": "A", "userId": 7}
    assert event.priority == "HIGH"


def test_the_same_document_is_stored_and_announced_once(bus: Harness) -> None:
    first, second = store(bus), store(bus, title="Another title")
    assert second == {"id": first["id"], "isNew": False}
    assert bus.sent("document.created").once


@pytest.mark.parametrize("change", [{"url": "https://zones.example/b"}, {"text": "About B."}])
def test_another_url_or_text_is_another_document(bus: Harness, change: dict[str, str]) -> None:
    store(bus)
    assert store(bus, **change)["isNew"]
    assert bus.sent("document.created").times(2)


def test_a_worker_killed_after_its_work_leaves_one_document_announced_once(bus: Harness) -> None:
    bus.crash(SERVICE, during="document.store")
    bus.send(SERVICE, "document.store", DATA)
    assert Document.objects.count() == 1
    assert bus.handled("document.store").once
    assert bus.sent("document.created").once


def test_a_document_that_could_not_be_announced_is_announced_when_the_broker_is_back(
    bus: Harness,
) -> None:
    with bus.broker_down():
        bus.send(SERVICE, "document.store", DATA)
    assert bus.sent("document.created").once


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
    bus: Harness, change: dict[str, Any], text: str
) -> None:
    with pytest.raises(RemoteError, match=re.escape(text)) as caught:
        store(bus, **change)
    assert caught.value.code == "invalid"
    bus.send(SERVICE, "document.store", {**DATA, **change})
    assert bus.parked("document.store", reason="invalid").once
    assert bus.sent("document.created").never
    assert not Document.objects.exists()


def test_a_long_title_is_cut(bus: Harness) -> None:
    stored = store(bus, title="t" * 301)
    document = bus.request(SERVICE, "document.get", {"id": stored["id"]})
    assert document["title"] == "t" * 300


def test_documents_are_listed_newest_first_without_their_text(bus: Harness) -> None:
    ids = [store(bus, text=text)["id"] for text in ("one", "two")]
    listed = bus.request(SERVICE, "document.list")
    assert [document["id"] for document in listed] == ids[::-1]
    assert "text" not in listed[0]
    assert len(bus.request(SERVICE, "document.list", {"limit": 1})) == 1


def test_an_unknown_document_is_a_clear_error(bus: Harness) -> None:
    with pytest.raises(RemoteError, match="there is no document 5") as caught:
        bus.request(SERVICE, "document.get", {"id": 5})
    assert caught.value.code == "not_found"


def test_views_may_come_twice_and_out_of_order(bus: Harness) -> None:
    viewed = {"id": store(bus)["id"]}
    bus.stop(SERVICE)
    bus.broadcast("document.viewed", viewed)
    bus.advance("5m")
    # More urgent, so it comes first though it was said last.
    bus.broadcast("document.viewed", viewed, priority="HIGH")
    said_at = bus.now()
    bus.duplicate("document.viewed")
    bus.start(SERVICE)
    assert bus.handled("document.viewed").times(3)
    document = bus.request(SERVICE, "document.get", viewed)
    assert document["lastViewedAt"] == said_at.isoformat()
