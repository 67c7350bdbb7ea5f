"""Sends what stdin lists in the gateway's name, as its HTTP side does; prints the ids.

One JSON object of arguments a line. Run with the environment of an installation.
"""

import json
import sys

import gateway_app.celery  # noqa: F401 - a process of the gateway: it knows who is down
from gateway_app.bus import communicator


def main() -> None:
    for line in sys.stdin:
        arguments = json.loads(line)
        target, message_type = arguments.pop("target"), arguments.pop("type")
        print(communicator.send_to_service(target, message_type, durable=True, **arguments))
    communicator.close()


main()
