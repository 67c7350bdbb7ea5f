"""A consuming process: ``python -m tests.faults.embedded_consumer URL LEASE_SECONDS``.

Prints a line of JSON for every message and for what became of its ack, which it makes when told
to by a line on stdin. That wait stands for a handler.
"""

import json
import sys

import kombu

import messaging.transport  # noqa: F401 - makes the scheme known
from messaging.errors import LeaseLost


def say(**facts):
    print(json.dumps(facts), flush=True)


def main() -> None:
    url, lease_seconds = sys.argv[1:]
    options = {"lease_seconds": float(lease_seconds), "maintenance_seconds": 0.2}
    connection = kombu.Connection(url, transport_options=options)

    def work(body, message):
        say(body=body, **message.delivery_info)
        sys.stdin.readline()
        try:
            message.ack()
        except LeaseLost:
            say(ack="lost")
        else:
            say(ack="done")

    connection.default_channel.basic_qos(prefetch_count=1)
    with connection.Consumer([kombu.Queue("work")], callbacks=[work]):
        say(ready=True)
        while True:
            try:
                connection.drain_events()
            except connection.connection_errors as exc:
                say(connection_error=type(exc).__name__)
                return


main()
