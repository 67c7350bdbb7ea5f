"""The Django app of document-service."""

from django.apps import AppConfig


class DocumentServiceConfig(AppConfig):
    """One table: documents."""

    name = "services.document"
    verbose_name = "Document service"
