"""Measure the embedded broker: ``python -m tests.bench.embedded_broker [--backlog 1000000]``.

Prints latencies and rates of one process, the round trip between two, and how publish and claim
change from 1,000 to --backlog queued messages.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable

import kombu

import messaging.transport  # noqa: F401 - makes the scheme known

BODY = b"x" * 200


def percentile(values: list[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def timed(action: Callable[[], object], count: int) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return taken


def show(name: str, taken: list[float]) -> None:
    p50, p99 = (percentile(taken, percent) * 1e6 for percent in (50, 99))
    print(f"{name:<34} p50 {p50:8.0f} us   p99 {p99:8.0f} us   {len(taken) / sum(taken):8.0f}/s")


class Bench:
    """One connection with a producer and the queue ``work``."""

    def __init__(self, url: str) -> None:
        self.connection = kombu.Connection(url)
        self.channel = self.connection.default_channel
        self.channel.queue_declare("work", durable=True)
        self.producer = self.connection.Producer()

    def publish(self, **options: object) -> None:
        self.producer.publish(
            BODY,
            routing_key="work",
            content_type="application/octet-stream",
            content_encoding="binary",
            **options,
        )

    def fill(self, count: int) -> None:
        with self.channel.batch():
            for _ in range(count):
                self.publish()

    def get_and_ack(self) -> None:
        self.channel.basic_get("work").ack()

    def consume(self, count: int) -> list[float]:
        """Consume and ack with a prefetch of 64."""
        self.channel.basic_qos(prefetch_count=64)
        tag = self.channel.basic_consume("work", callback=lambda message: message.ack())
        taken = timed(lambda: self.connection.drain_events(timeout=10), count)
        self.channel.basic_cancel(tag)
        return taken


def echo(url: str) -> None:
    """Answer on ``pong`` whatever comes on ``ping``, until killed."""
    with kombu.Connection(url) as connection:
        channel, producer = connection.default_channel, connection.Producer()
        channel.queue_declare("ping")

        def answer(message: kombu.Message) -> None:
            message.ack()
            producer.publish("pong", routing_key="pong")

        channel.basic_consume("ping", callback=answer)
        while True:
            connection.drain_events()


def ping_pong(url: str, count: int) -> list[float]:
    child = os.fork()
    if child == 0:
        echo(url)
    try:
        with kombu.Connection(url) as connection:
            channel, producer = connection.default_channel, connection.Producer()
            for queue in ("ping", "pong"):
                channel.queue_declare(queue)
            channel.basic_consume("pong", callback=lambda message: message.ack())

            def once() -> None:
                producer.publish("ping", routing_key="ping")
                connection.drain_events(timeout=10)

            timed(once, 20)
            return timed(once, count)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=5000, help="operations of each measurement")
    parser.add_argument("--backlog", type=int, default=1_000_000, help="messages queued at most")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="embedded-broker-")
    try:
        run(f"sqlite:///{folder}/broker.sqlite3", arguments.count, arguments.backlog)
    finally:
        shutil.rmtree(folder)


def run(url: str, count: int, backlog: int) -> None:
    show("ping-pong of two processes", ping_pong(url, count // 5))
    bench = Bench(url)
    show("publish", timed(bench.publish, count))
    show("consume and ack", bench.consume(count))
    show("publish, durability full", timed(lambda: bench.publish(durability="full"), count // 5))
    bench.channel.queue_purge("work")
    began = time.perf_counter()
    bench.fill(count * 4)
    print(f"{'publish in batches':<34} {count * 4 / (time.perf_counter() - began):8.0f}/s")
    bench.channel.queue_purge("work")
    medians = []
    for queued in (1000, backlog):
        bench.fill(queued - bench.channel.queue_declare("work", passive=True).message_count)
        publish, get = timed(bench.publish, count), timed(bench.get_and_ack, count)
        show(f"publish with {queued:,} queued", publish)
        show(f"get and ack with {queued:,} queued", get)
        medians.append((percentile(publish, 50), percentile(get, 50)))
    (publish_few, get_few), (publish_many, get_many) = medians
    print(f"ratio at {backlog:,}: publish {publish_many / publish_few:.2f}, ", end="")
    print(f"get and ack {get_many / get_few:.2f}")
    bench.connection.close()


if __name__ == "__main__":
    main()
