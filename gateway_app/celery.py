"""`celery -A gateway_app worker | beat | flower` finds the app here."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_app.settings")
django.setup()

from gateway_app.bus import communicator  # noqa: E402 - Django first

app = communicator.celery_app
