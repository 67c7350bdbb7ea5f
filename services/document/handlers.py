"""What document-service does with the messages it gets."""

import hashlib
from collections.abc import Mapping
from typing import Any, TypeGuard

from django.db.models import Q
from django.utils import timezone

from messaging import Envelope, MessagePriority, Reject, ServiceCommunicator
from services.document.contracts import (
    DEFAULT_LIMIT,
    DOCUMENT_CREATED,
    DOCUMENT_GET,
    DOCUMENT_LIST,
    DOCUMENT_STORE,
    DOCUMENT_VIEWED,
    MAX_LIMIT,
    MAX_TITLE_LENGTH,
    MAX_URL_LENGTH,
    SERVICE,
    DocumentDetails,
    DocumentStored,
    DocumentSummary,
)
from services.document.models import Document

communicator = ServiceCommunicator(SERVICE, version="1.0.0")


class InvalidData(Reject):
    """The message's data is not what the contract says; trying again changes nothing."""


class DocumentNotFound(Reject):
    """There is no such document."""


@communicator.on_message(DOCUMENT_STORE)
def store_document(data: Any) -> DocumentStored:
    """Keep a document and tell everybody about it, once it is stored.

    Safe to run again: the row is found by its fingerprint, and ``announced_at`` says whether the
    first run came as far as the announcement. Killed between announcing and noting it down, it
    announces twice; never not at all.
    """
    document, is_new = _store(_mapping(data))
    if document.announced_at is None:
        _announce(document)
    return {"id": document.pk, "isNew": is_new}


@communicator.on_message(DOCUMENT_GET)
def get_document(data: Any) -> DocumentDetails:
    """Answer with one document."""
    document_id = _integer(_mapping(data), "id")
    document = Document.objects.filter(pk=document_id).first()
    if document is None:
        raise DocumentNotFound(f"there is no document {document_id}")
    return {**_summary(document), "text": document.text}


@communicator.on_message(DOCUMENT_LIST)
def list_documents(data: Any) -> list[DocumentSummary]:
    """Answer with the latest documents, newest first."""
    wanted = _mapping(data)
    limit = _integer(wanted, "limit") if "limit" in wanted else DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidData(f"limit: expected 1 to {MAX_LIMIT}, got {limit}")
    return [_summary(document) for document in Document.objects.defer("text")[:limit]]


@communicator.on_message(DOCUMENT_VIEWED)
def note_view(data: Any, message: Envelope) -> None:
    """Keep when a document was looked at last.

    Delivered twice or out of order it comes to the same: the latest instant stays.
    """
    at = message.created_at
    Document.objects.filter(
        Q(last_viewed_at=None) | Q(last_viewed_at__lt=at), pk=_integer(_mapping(data), "id")
    ).update(last_viewed_at=at)


def _store(data: Mapping[str, Any]) -> tuple[Document, bool]:
    url = _text(data, "url", MAX_URL_LENGTH)
    text = _text(data, "text")
    return Document.objects.get_or_create(
        fingerprint=hashlib.sha256(f"{url}\0{text}".encode()).hexdigest(),
        defaults={
            "url": url,
            "title": _text(data, "title")[:MAX_TITLE_LENGTH],
            "text": text,
            "user_id": None if data.get("userId") is None else _integer(data, "userId"),
            "stored_at": timezone.now(),
        },
    )


def _announce(document: Document) -> None:
    communicator.broadcast(
        DOCUMENT_CREATED,
        {
            "id": document.pk,
            "url": document.url,
            "title": document.title,
            "userId": document.user_id,
        },
        priority=MessagePriority.HIGH,
    )
    Document.objects.filter(pk=document.pk).update(announced_at=timezone.now())


def _summary(document: Document) -> DocumentSummary:
    viewed_at = document.last_viewed_at
    return {
        "id": document.pk,
        "url": document.url,
        "title": document.title,
        "userId": document.user_id,
        "storedAt": document.stored_at.isoformat(),
        "lastViewedAt": viewed_at.isoformat() if viewed_at else None,
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


def _text(data: Mapping[str, Any], key: str, max_length: int | None = None) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidData(f"{key}: expected a text, got {value!r:.100}")
    if max_length is not None and len(value) > max_length:
        raise InvalidData(f"{key}: expected at most {max_length} characters, got {len(value)}")
    return value
