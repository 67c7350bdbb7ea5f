"""A fleet of services in one process, as far as health checks can tell.

    python tests/bench/peers/fleet.py BROKER_URL NAMESPACE LIVING

Answers `service.health.check` for the first LIVING of its services, which are called s0, s1, …, as
their communicators would, and ``GET /health/N`` for each number below LIVING; asked for another
number it says nothing. Prints the port of its HTTP server once both work.
"""

import asyncio
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import django

django.setup()

from kombu import Connection, Consumer  # noqa: E402
from kombu.message import Message  # noqa: E402

from messaging import MessageBus, MessagingConfig  # noqa: E402
from messaging.answers import reply_to  # noqa: E402
from messaging.codec import decode  # noqa: E402

#: A thousand consumers on one channel are nothing that brokers and kombu are used to.
_QUEUES_OF_CHANNEL: Final = 20
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Fleet:
    """Its services.

    Args:
        bus: where messages come from and answers go.
        living: how many of them answer.
    """

    def __init__(self, bus: MessageBus, living: int) -> None:
        self._bus = bus
        self._living = living

    def answer_messages(self, is_ready: threading.Event) -> None:
        """Consume the queues of all that live, for ever."""
        names = [f"s{number}" for number in range(self._living)]
        queues = [self._bus.topology.worker_queue(name, []) for name in names]
        with self._bus.connection() as connection:
            for start in range(0, len(queues), _QUEUES_OF_CHANNEL):
                consumer = Consumer(
                    connection.channel(),
                    queues[start : start + _QUEUES_OF_CHANNEL],
                    on_message=self._answer,
                    no_ack=True,
                )
                consumer.consume()
            is_ready.set()
            self._drain(connection)

    async def answer_http(self, is_ready: threading.Event) -> None:
        """Serve the health endpoints, for ever."""

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                request = await reader.readuntil(b"\r\n\r\n")
                number = int(request.split(b" ", 2)[1].removeprefix(b"/health/"))
                if number < self._living:
                    writer.write(_OK)
                    await writer.drain()
                await reader.read()
            except (asyncio.IncompleteReadError, ConnectionError):
                return  # it had no patience
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1000)
        await asyncio.to_thread(is_ready.wait)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    def _drain(self, connection: Connection) -> None:
        while True:
            try:
                connection.drain_events(timeout=1)
            except TimeoutError:
                continue

    def _answer(self, message: Message) -> None:
        request = decode(message.body)
        if request.reply_to is not None:
            answer = self._health(request.target)
            reply = reply_to(request, request.target, answer)
            self._bus.round_trips.reply(reply, request.reply_to)

    def _health(self, name: str) -> Mapping[str, Any]:
        """Return what a service of no particular load says."""
        load = {"consumed": 1, "busy": 0, "capacity": 4, "oldest_seconds": 0.0}
        return {
            "name": name,
            "id": f"{name}-1",
            "version": "1",
            "status": "UP",
            "uptime_seconds": 1.0,
            "load": load,
            "checks": {},
        }


def main() -> None:
    """Be the fleet."""
    url, namespace, living = sys.argv[1:]
    config = MessagingConfig(broker_url=url, namespace=namespace)
    fleet, is_ready = Fleet(MessageBus(config), int(living)), threading.Event()
    threading.Thread(target=fleet.answer_messages, args=(is_ready,), daemon=True).start()
    asyncio.run(fleet.answer_http(is_ready))


if __name__ == "__main__":
    main()
