"""Sends CRITICAL messages to the tour's service: ``python -m gateway_app.tour.sender NUMBER``."""

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_app.settings")
django.setup()

from gateway_app.bus import communicator  # noqa: E402 - Django first
from gateway_app.tour.names import COUNT, SERVICE  # noqa: E402
from messaging import MessagePriority  # noqa: E402


def main() -> None:
    """Send them and return when they are accepted and, if the broker is there, published."""
    for number in range(int(sys.argv[1])):
        communicator.send_to_service(
            SERVICE, COUNT, {"number": number}, priority=MessagePriority.CRITICAL
        )
    communicator.close()


main()
