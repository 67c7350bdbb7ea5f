"""Celery at its defaults as a peer: what the bus is measured against.

    python tests/bench/peers/raw_celery.py rmq|redis|sqla|django worker|drive …

``rmq`` has its results over rpc://, ``redis`` in Redis, ``sqla`` (kombu's SQLAlchemy transport)
in a database. ``django`` is ``rmq`` in a project of Django. With BENCH_DURABLE tasks are
acknowledged late and RabbitMQ confirms what is published.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from celery import Celery  # noqa: E402
from celery.signals import worker_ready  # noqa: E402
from kombu import Exchange, Queue  # noqa: E402

from tests.bench.peers import protocol  # noqa: E402

#: Routing key of what every service gets.
TO_ALL: Final = "all"
POOLS: Final = {"c1": ("-P", "solo"), "c4": ("-P", "threads", "-c", "4")}


class CeleryPeer:
    """One queue for each service; all of them are bound to one direct exchange."""

    def __init__(self, flavour: str) -> None:
        folder = Path(os.environ["BENCH_DIR"])
        amqp, redis = os.environ.get("BENCH_AMQP", ""), os.environ.get("BENCH_REDIS", "")
        broker, results = {
            "rmq": (amqp, "rpc://"),
            "django": (amqp, "rpc://"),
            "redis": (redis, redis),
            "sqla": (
                f"sqla+sqlite:///{folder / 'celery.db'}",
                f"db+sqlite:///{folder / 'results.db'}",
            ),
        }[flavour]
        self._flavour = flavour
        self._namespace = os.environ.get("BENCH_NS", "bench")
        self._events = Exchange(f"{self._namespace}.events", type="direct")
        self._queues = [
            Queue(f"{self._namespace}.svc{service}", self._events, routing_key=TO_ALL)
            for service in range(protocol.SERVICES)
        ]
        self._app = Celery("bench", broker=broker, backend=results)
        self._app.conf.broker_connection_retry_on_startup = True
        if os.environ.get("BENCH_DURABLE") == "1":
            self._app.conf.task_acks_late = True
            if flavour == "rmq":
                self._app.conf.broker_transport_options = {"confirm_publish": True}
        self._log: protocol.Log | None = None

        def note(message: Mapping[str, Any]) -> None:
            assert self._log is not None
            self._log.handled(message)

        self._note = self._app.task(note, name="note", ignore_result=True)
        self._echo = self._app.task(_answer, name="echo")

    def work(self, service: int, variant: str) -> None:
        """Run ``celery worker`` with the pool of the variant."""
        if self._flavour == "django":
            import django

            django.setup()
        self._log = protocol.Log(os.environ["BENCH_LOG"], service)
        queue = self._queues[service]
        self._app.conf.update(task_queues=[queue], task_default_queue=queue.name)
        worker_ready.connect(lambda **_: protocol.ready(), weak=False)
        name = f"svc{service}.{self._namespace}@bench"
        self._app.worker_main(["worker", "-l", "ERROR", "-n", name, *POOLS[variant]])

    def open(self, operation: str) -> None:
        """Declare the queues that are sent to: a service's exists before anybody needs it."""
        queues = self._queues if operation == "broadcast" else self._queues[:1]
        self._app.conf.update(task_queues=queues, task_default_queue=queues[0].name)
        with self._app.connection_for_write() as connection:
            for queue in queues:
                queue(connection.default_channel).declare()

    def publish(self, message: Mapping[str, Any]) -> None:
        """Send a task that notes the message."""
        self._note.apply_async((message,), queue=self._queues[0].name)

    def broadcast(self, message: Mapping[str, Any]) -> None:
        """Send one task to the exchange of all services."""
        self._note.apply_async(
            (message,),
            exchange=self._events.name,
            routing_key=TO_ALL,
            # Where bindings are known to a connection alone, this one has to make them.
            declare=self._queues,
        )

    def request(self, message: Mapping[str, Any]) -> Any:
        """Send a task and wait for its result."""
        return self._echo.apply_async((message,), queue=self._queues[0].name).get(timeout=30)

    def close(self) -> None:
        """Close all connections."""
        self._app.pool.force_close_all()


def _answer(message: Mapping[str, Any]) -> Mapping[str, Any]:
    return message


if __name__ == "__main__":
    if sys.argv[1] == "django":
        # Before Celery makes an app: it looks there whether it is in a project of Django.
        os.environ.update(
            DJANGO_SETTINGS_MODULE="gateway_app.settings", VAR_DIR=os.environ["BENCH_DIR"]
        )
    protocol.main(CeleryPeer(sys.argv[1]), sys.argv[2:])
