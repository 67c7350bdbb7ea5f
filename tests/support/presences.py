"""Many services that do nothing but say that they live: ``python -m tests.support.presences N``.

One process, so that one signal silences all of them at once.
"""

import sys
import threading

import django

django.setup()

from messaging import ServiceCommunicator  # noqa: E402


def main(count: int) -> None:
    communicators = [ServiceCommunicator(f"present-{number}") for number in range(count)]
    for communicator in communicators:
        communicator.presence.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))
