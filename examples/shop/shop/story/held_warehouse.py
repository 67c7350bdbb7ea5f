"""The warehouse, with a place to stop it: `celery -A shop.story.held_warehouse worker`.

It is the same service. While there is a file ``hold`` in VAR_DIR, it waits in the middle of
reserving: the goods are taken, and nothing is committed. So the story need not be lucky to kill it
just there.
"""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from django.conf import settings  # noqa: E402 - Django first
from django.db.models.signals import post_save  # noqa: E402

from messaging.clock import SYSTEM_CLOCK  # noqa: E402
from shop.story.names import HELD_FILE, HOLD_FILE  # noqa: E402
from shop.warehouse.handlers import communicator  # noqa: E402
from shop.warehouse.models import Reservation  # noqa: E402


def hold(**_: Any) -> None:
    """Wait as long as the file is there."""
    while (settings.VAR_DIR / HOLD_FILE).exists():
        (settings.VAR_DIR / HELD_FILE).touch()
        SYSTEM_CLOCK.sleep(0.05)


post_save.connect(hold, sender=Reservation, weak=False)

app = communicator.celery_app
