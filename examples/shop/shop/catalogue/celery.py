"""`celery -A shop.catalogue worker` finds the app here."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from shop.catalogue.handlers import communicator  # noqa: E402 - models need Django set up

app = communicator.celery_app
