"""The bus as a peer, on any of its brokers.

    python tests/bench/peers/bus.py sqlite|amqp|redis worker|relay|drive …

With BENCH_DURABLE messages are CRITICAL, and a relay of the sender runs beside the worker, as in
any installation: it publishes what is left, and applies the receipts. BENCH_EVENTS=1 turns task
events on.
"""

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tests.bench.peers import protocol  # noqa: E402

SENDER: Final = "client"
#: Accepted messages are published within this after the last one, or left to the relay.
FLUSH_SECONDS: Final = 5.0


class BusPeer:
    """Commands, events and requests through `ServiceCommunicator`, guarantees as they come."""

    def __init__(self, broker: str) -> None:
        folder = Path(os.environ["BENCH_DIR"])
        url = {
            "sqlite": f"sqlite:///{folder / 'broker.sqlite3'}",
            "amqp": os.environ.get("BENCH_AMQP", ""),
            "redis": os.environ.get("BENCH_REDIS", ""),
        }[broker]
        self._broker = broker
        self._keys = int(os.environ.get("BENCH_ORDERING_KEYS", "0"))
        self._sent = itertools.count()
        self._priority = "CRITICAL" if os.environ.get("BENCH_DURABLE") == "1" else "NORMAL"
        os.environ.update(
            BROKER_URL=url,
            VAR_DIR=str(folder),
            MESSAGING_NAMESPACE=os.environ.get("BENCH_NS", "bench"),
            DJANGO_SETTINGS_MODULE="gateway_app.settings",
            # As in production: Django keeps a list of all statements else.
            DJANGO_DEBUG="0",
            DJANGO_TLS="0",
            DJANGO_SECRET_KEY="of a benchmark",
            C_FORCE_ROOT="1",
        )
        if not (folder / "gateway.sqlite3").exists():
            shutil.copy(migrated_database(), folder / "gateway.sqlite3")

    def work(self, service: int, variant: str) -> None:
        """Run ``celery worker`` as it runs any service."""
        from celery.signals import worker_ready

        os.environ["MESSAGING_WORKER_CONCURRENCY"] = variant[1:]
        communicator = self._communicator(f"svc{service}")
        log = protocol.Log(os.environ["BENCH_LOG"], service)
        communicator.on_message("order.paid")(log.handled)
        communicator.on_message("order.echo")(lambda data: data)
        if self._priority == "CRITICAL":
            subprocess.Popen([sys.executable, __file__, self._broker, "relay"])
        worker_ready.connect(lambda **_: protocol.ready(), weak=False)
        events = ["-E"] if os.environ.get("BENCH_EVENTS") == "1" else []
        communicator.celery_app.worker_main(["worker", "-l", "ERROR", *events])

    def relay(self) -> None:
        """Publish and settle what the client accepted, until killed."""
        from messaging.custody.control import Control
        from messaging.custody.relay import Relay

        bus = self._communicator(SENDER).bus
        Control(bus, SENDER).start()
        Relay(bus, SENDER).run()

    def open(self, operation: str) -> None:
        """Connect by a message nobody handles."""
        self.client = self._communicator(SENDER)
        self.client.tell("nobody", "order.first", {}, expires_in=1)
        if operation == "publish" and self._priority == "CRITICAL":
            self.client.bus.dispatch.flush(FLUSH_SECONDS)

    def publish(self, message: Mapping[str, Any]) -> None:
        """Send a command; CRITICAL is committed to the outbox when this returns."""
        key = f"key-{next(self._sent) % self._keys}" if self._keys else None
        self.client.send_to_service(
            "svc0", "order.paid", message, priority=self._priority, ordering_key=key
        )

    def broadcast(self, message: Mapping[str, Any]) -> None:
        """Broadcast an event."""
        self.client.broadcast("order.paid", message)

    def request(self, message: Mapping[str, Any]) -> Any:
        """Ask and wait."""
        return self.client.request("svc0", "order.echo", message, timeout=30)

    def close(self) -> None:
        """Publish what is accepted, for as long as a process that ends would, and close."""
        self.client.close()

    def _communicator(self, name: str) -> Any:
        import django

        django.setup()
        from messaging import ServiceCommunicator

        return ServiceCommunicator(name, version="1")


def migrated_database() -> Path:
    """Return an empty database with all tables; made once for each set of migrations."""
    migrations = sorted(ROOT.glob("*/migrations/*.py")) + sorted(ROOT.glob("*/*/migrations/*.py"))
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in migrations)).hexdigest()[:16]
    made = Path(tempfile.gettempdir()) / f"messaging-bench-{digest}.sqlite3"
    if not made.exists():
        inherited = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "--verbosity=0"],
                cwd=ROOT,
                env={**inherited, "VAR_DIR": folder},
                check=True,
            )
            part = made.with_suffix(f".{os.getpid()}")
            shutil.copy(Path(folder) / "gateway.sqlite3", part)
            part.rename(made)
    return made


if __name__ == "__main__":
    peer = BusPeer(sys.argv[1])
    if sys.argv[2] == "relay":
        peer.relay()
    else:
        protocol.main(peer, sys.argv[2:])
