"""A publishing process: ``python -m tests.faults.embedded_publisher URL NAME COUNT``.

Prints ``NAME-number`` after each publish that returned; COUNT 0 publishes until killed.
"""

import itertools
import sys

import kombu

import messaging.transport  # noqa: F401 - makes the scheme known


def main() -> None:
    url, name, count = sys.argv[1:]
    with kombu.Connection(url) as connection:
        producer = connection.Producer()
        for number in range(int(count)) if int(count) else itertools.count():
            producer.publish(f"{name}-{number}", routing_key="work", mandatory=True)
            print(f"{name}-{number}", flush=True)


main()
