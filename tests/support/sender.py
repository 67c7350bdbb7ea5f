"""Sends what stdin lists, one JSON object of arguments a line, and exits when it is accepted.

Run with the environment of an installation. Prints one line for each: the message id, or the name
of the exception that its sender saw.
"""

import json
import sys

import django

django.setup()

from messaging import MessagingError, ServiceCommunicator  # noqa: E402


def main() -> None:
    communicator = ServiceCommunicator("tester")
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            if "target" in arguments:
                answer = communicator.send_to_service(
                    arguments.pop("target"), arguments.pop("type"), **arguments
                )
            else:
                answer = communicator.broadcast(arguments.pop("type"), **arguments)
        except MessagingError as exc:
            answer = type(exc).__name__
        print(answer, flush=True)
    communicator.close()


main()
