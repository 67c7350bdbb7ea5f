"""Sends commands and events at a steady pace until it is told to stop by TERM.

Run with the environment of an installation; STEADY_PRIORITY is that of all. Prints a line for
each: ``count`` or ``happened.now``, and the message id, or the name of the exception that its
sender saw.
"""

import os
import signal
import threading

import django

django.setup()

from messaging import MessagingError, ServiceCommunicator  # noqa: E402

PAUSE_SECONDS = 0.05


def main() -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    communicator = ServiceCommunicator("tester")
    priority = os.environ.get("STEADY_PRIORITY", "CRITICAL")
    sends = [
        (
            "count",
            lambda: communicator.send_to_service("counter", "count", {}, priority=priority),
        ),
        ("happened.now", lambda: communicator.broadcast("happened.now", {}, priority=priority)),
    ]
    while not stopped.wait(PAUSE_SECONDS):
        for what, send in sends:
            try:
                answer = send()
            except MessagingError as exc:
                answer = type(exc).__name__
            print(what, answer, flush=True)
    communicator.close()


main()
