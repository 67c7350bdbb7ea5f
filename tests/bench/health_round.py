"""W11: one health round of the gateway over many services, a tenth of them dead.

Messages and HTTP are real; the services are simulated: one process answers the questions on the
queues of all that live, and on their health endpoints. Of the dead nobody reads the queues. Half
of their endpoints refuse the connection, the others accept it and say nothing.
"""

import json
import sqlite3
import statistics
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from kombu import Connection

from messaging import MessagingConfig
from messaging.brokers import profile_for
from messaging.clock import SYSTEM_CLOCK
from messaging.registration import HEALTH_ROUND
from messaging.topology import Topology
from tests.bench import servers, usage
from tests.bench.arithmetic import Outcome
from tests.bench.counts import Counts
from tests.bench.filling import add_service
from tests.bench.measurement import READY_SECONDS, Failed, Measurement
from tests.support.installation import ROOT
from tests.support.processes import BIN, Process

T = TypeVar("T")

#: One in so many is dead.
_DEAD: Final = 10
#: Before the first round that is timed: connections, code that is loaded late.
_WARM_ROUNDS: Final = 1
_LOAD: Final = {"consumed": 1, "busy": 0, "capacity": 4, "oldest_seconds": 0.0}
_GATEWAY: Final = "api-gateway"


def over_services(run: Measurement, services: int, counts: Counts) -> Outcome:
    """W11: what a round takes of time, of CPU and of memory, in one worker of the gateway."""
    living = services - services // _DEAD
    with _queues(run, services):
        port = _start_fleet(run, living)
        _register(run, services, living, port)
        gateway = _start_gateway(run)
        for _ in range(_WARM_ROUNDS):
            _round(run)
        cpu = usage.cpu_seconds(gateway.pid)
        seconds = [_round(run) for _ in range(counts.rounds)]
        spent = (usage.cpu_seconds(gateway.pid) - cpu) / counts.rounds
        _check(run, living)
    return Outcome(
        {
            "round_s": statistics.median(seconds),
            "cpu_s": spent,
            "peak_mb": usage.peak_mb(gateway.pid),
        }
    )


def _register(run: Measurement, services: int, living: int, port: int) -> None:
    """Put the services on record, each with an endpoint."""
    refused = servers.free_port()
    with closing(sqlite3.connect(run.database)) as db, db:
        for number in range(services):
            add_service(db, f"s{number}", f"s{number}.task")
            refuses = number >= living and number % 2
            db.execute(
                "UPDATE gateway_app_serviceinstance SET host = '127.0.0.1', port = ?,"
                " health_endpoint = ?, load_json = ? WHERE instance_id = ?",
                (
                    refused if refuses else port,
                    f"/health/{number}",
                    json.dumps(_LOAD),
                    f"s{number}-1",
                ),
            )


@contextmanager
def _queues(run: Measurement, services: int) -> Iterator[None]:
    """Have a queue for each service, as one that ever ran has left it."""
    config = MessagingConfig(broker_url=run.broker_url, namespace=run.namespace)
    profile = profile_for(run.broker_url)
    topology = Topology(config, profile)
    options = profile.transport_options(config)
    with Connection(
        run.broker_url, transport=profile.transport, transport_options=options
    ) as connection:
        queues = [topology.worker_queue(f"s{number}", []) for number in range(services)]
        for queue in queues:
            queue(connection.default_channel).declare()
        try:
            yield
        finally:
            if run.contestant.server == "amqp":
                with Connection(run.broker_url) as remover:
                    for queue in queues:
                        remover.default_channel.queue_delete(queue.name)


def _start_fleet(run: Measurement, living: int) -> int:
    """Start what answers for all that live; return the port of its HTTP server."""
    process = run.run(
        str(BIN / "python"),
        str(Path(__file__).parent / "peers/fleet.py"),
        run.broker_url,
        run.namespace,
        str(living),
        **_environment(run),
    )
    return int(_eventually(process, process.log.read_text))


def _start_gateway(run: Measurement) -> Process:
    """Start a worker of the gateway as the Procfile does; return it once it is registered."""
    process = run.run(
        str(BIN / "celery"), "-A", "gateway_app", "worker", "-l", "ERROR", **_environment(run)
    )
    query = "SELECT 1 FROM gateway_app_service WHERE name = ?"
    _eventually(process, lambda: _read(run, query, _GATEWAY))
    return process


def _round(run: Measurement) -> float:
    """Have one round done; return how long it took, as the gateway itself has it on record."""
    query = "SELECT round_at, round_seconds FROM gateway_app_registrystatus"
    before, _ = _read(run, query)
    manage = (str(BIN / "python"), str(ROOT / "manage.py"))
    sending = run.run(*manage, "bus_send", _GATEWAY, HEALTH_ROUND, **_environment(run))
    if sending.wait(READY_SECONDS):
        raise Failed(f"no round could be asked for: {sending.log.read_text()[-400:]}")

    def found() -> float | None:
        round_at, seconds = _read(run, query)
        return float(seconds) if round_at != before else None

    return _eventually(None, found)


def _check(run: Measurement, living: int) -> None:
    """Make sure that the rounds came to the right results.

    Raises:
        Failed: they did not.
    """
    answered, reached = _read(
        run,
        "SELECT (SELECT count(*) FROM gateway_app_service"
        """ WHERE name LIKE 's%' AND last_health_json LIKE '{"state": "UP"%'),"""
        " (SELECT count(*) FROM gateway_app_serviceinstance"
        " WHERE health_endpoint != '' AND probe_failures = 0)",
    )
    if (answered, reached) != (living, living):
        raise Failed(f"{living} live: {answered} answered by message, {reached} over HTTP")


def _environment(run: Measurement) -> dict[str, str]:
    return {
        "BROKER_URL": run.broker_url,
        "VAR_DIR": str(run.folder),
        "MESSAGING_NAMESPACE": run.namespace,
        "DJANGO_SETTINGS_MODULE": "gateway_app.settings",
        "DJANGO_DEBUG": "0",
        "DJANGO_TLS": "0",
        "DJANGO_SECRET_KEY": "of a benchmark",
        # Clients without tokens, and instances on this host.
        "MESSAGING_HTTP_AUTH": "none",
        "MESSAGING_UPSTREAM_NETWORKS": "127.0.0.0/8, ::1",
        "C_FORCE_ROOT": "1",
    }


def _read(run: Measurement, query: str, *parameters: str) -> Any:
    with closing(sqlite3.connect(run.database)) as db:
        return db.execute(query, parameters).fetchone()


def _eventually(process: Process | None, look: Callable[[], T | None]) -> T:
    """Return the first answer that is one.

    Raises:
        Failed: none came in time, or the process ended.
    """
    ends_at = SYSTEM_CLOCK.monotonic() + READY_SECONDS
    while not (answer := look()):
        is_over = process is not None and not process.is_running()
        if is_over or SYSTEM_CLOCK.monotonic() > ends_at:
            raise Failed(process.log.read_text()[-400:] if process else "a round did not end")
        SYSTEM_CLOCK.sleep(0.02)
    return answer
