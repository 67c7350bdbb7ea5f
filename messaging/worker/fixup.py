"""Celery's fix-up for Django, without what its programs have no use for."""

from functools import cached_property
from typing import Any, Final

from celery import Celery
from celery.fixups.django import DjangoFixup, DjangoWorkerFixup

#: For Celery's `fixups`.
SERVICE_FIXUP: Final = "messaging.worker.fixup:fixup"


class _ServiceWorkerFixup(DjangoWorkerFixup):
    def validate_models(self) -> None:
        """Set Django up.

        Celery also runs all system checks here and looks at none of their findings. They load
        every page of the project, which takes a quarter of a start or more.
        """
        self.django_setup()


class _ServiceFixup(DjangoFixup):
    @cached_property
    def worker_fixup(self) -> DjangoWorkerFixup:
        return _ServiceWorkerFixup(self.app)


def fixup(app: Celery) -> Any:
    """Install it in the app."""
    return _ServiceFixup(app).install()
