"""`celery -A services.scraper worker` finds the app here."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_app.settings")
django.setup()

from services.scraper.handlers import communicator  # noqa: E402 - models need Django set up

app = communicator.celery_app
