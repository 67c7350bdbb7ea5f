"""What document-service does with the messages it gets."""

import hashlib

from django.db.models import Q
from django.utils import timezone

from messaging import Envelope, MessagePriority, Reject, ServiceCommunicator
from services.document.contracts import (
    DOCUMENT_CREATED,
    DOCUMENT_GET,
    DOCUMENT_LIST,
    DOCUMENT_STORE,
    DOCUMENT_VIEWED,
    SERVICE,
    DocumentCreated,
    DocumentDetails,
    DocumentStored,
    DocumentSummary,
    DocumentViewed,
    GetDocument,
    ListDocuments,
    StoreDocument,
)
from services.document.limits import MAX_TITLE_LENGTH
from services.document.models import Document

communicator = ServiceCommunicator(SERVICE, version="1.0.0")
communicator.sends(DOCUMENT_CREATED, DocumentCreated)


class DocumentNotFound(Reject):
    """There is no such document."""

    code = "not_found"


@communicator.on_message(DOCUMENT_STORE, schema=StoreDocument, answers=DocumentStored)
def store_document(wanted: StoreDocument) -> DocumentStored:
    """Keep a document and tell everybody about it, once it is stored.

    Safe to run again: the row is found by its fingerprint, and ``announced_at`` says whether the
    first run came as far as the announcement. Killed between announcing and noting it down, it
    announces twice; never not at all.
    """
    document, is_new = _store(wanted)
    if document.announced_at is None:
        _announce(document)
    return {"id": document.pk, "isNew": is_new}


@communicator.on_message(DOCUMENT_GET, schema=GetDocument, answers=DocumentDetails)
def get_document(wanted: GetDocument) -> DocumentDetails:
    """Answer with one document."""
    document = Document.objects.filter(pk=wanted.id).first()
    if document is None:
        raise DocumentNotFound(f"there is no document {wanted.id}")
    return {**_summary(document), "text": document.text}


@communicator.on_message(DOCUMENT_LIST, schema=ListDocuments, answers=list[DocumentSummary])
def list_documents(wanted: ListDocuments) -> list[DocumentSummary]:
    """Answer with the latest documents, newest first."""
    return [_summary(document) for document in Document.objects.defer("text")[: wanted.limit]]


@communicator.on_message(DOCUMENT_VIEWED, schema=DocumentViewed)
def note_view(view: DocumentViewed, message: Envelope) -> None:
    """Keep when a document was looked at last.

    Delivered twice or out of order it comes to the same: the latest instant stays.
    """
    at = message.created_at
    Document.objects.filter(Q(last_viewed_at=None) | Q(last_viewed_at__lt=at), pk=view.id).update(
        last_viewed_at=at
    )


def _store(wanted: StoreDocument) -> tuple[Document, bool]:
    return Document.objects.get_or_create(
        fingerprint=hashlib.sha256(f"{wanted.url}\0{wanted.text}".encode()).hexdigest(),
        defaults={
            "url": wanted.url,
            "title": wanted.title[:MAX_TITLE_LENGTH],
            "text": wanted.text,
            "user_id": wanted.user_id,
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
