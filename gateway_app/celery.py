"""`celery -A gateway_app worker | beat | flower` finds the app here."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_app.settings")
django.setup()

import gateway_app.handlers  # noqa: E402, F401 - Django first; registers themselves
from gateway_app.beat import schedule_for  # noqa: E402
from gateway_app.bus import communicator  # noqa: E402

app = communicator.celery_app
app.conf.update(
    beat_scheduler="gateway_app.beat:BusScheduler",
    beat_schedule=schedule_for(communicator.bus.config),
)
