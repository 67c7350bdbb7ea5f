"""W11: one health round of the gateway over many services, a tenth of them dead.

Messages and HTTP are real; the services are simulated: one process answers the questions on the
queues of all that live, and on their health endpoints. Of the dead nobody reads the queues. Half
of their endpoints refuse the connection, the others accept it and say nothing.
"""

import json
import sqlite3
import statistics
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from kombu import Connection

from messaging import MessagingConfig
from messaging.brokers import profile_for
from messaging.registration import HEALTH_ROUND
from messaging.topology import Topology
from tests.bench import servers, usage
from tests.bench.arithmetic import Outcome
from tests.bench.counts import Counts
from tests.bench.filling import add_service
from tests.bench.gateway_worker import command, environment, eventually, read, start
from tests.bench.measurement import Failed, Measurement
from tests.support.processes import BIN

#: One in so many is dead.
_DEAD: Final = 10
#: Before the first round that is timed: connections, code that is loaded late.
_WARM_ROUNDS: Final = 1
_LOAD: Final = {"consumed": 1, "busy": 0, "capacity": 4, "oldest_seconds": 0.0}


def over_services(run: Measurement, services: int, counts: Counts) -> Outcome:
    """W11: what a round takes of time, of CPU and of memory, in one worker of the gateway."""
    living = services - services // _DEAD
    with _queues(run, services):
        port = _start_fleet(run, living)
        _register(run, services, living, port)
        gateway = start(run)
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
        **environment(run),
    )
    return int(eventually(process, process.log.read_text))


def _round(run: Measurement) -> float:
    """Have one round done; return how long it took, as the gateway itself has it on record."""
    query = "SELECT round_at, round_seconds FROM gateway_app_registrystatus"
    before, _ = read(run, query)
    command(run, HEALTH_ROUND)

    def found() -> float | None:
        round_at, seconds = read(run, query)
        return float(seconds) if round_at != before else None

    return eventually(None, found)


def _check(run: Measurement, living: int) -> None:
    """Make sure that the rounds came to the right results.

    Raises:
        Failed: they did not.
    """
    answered, reached = read(
        run,
        "SELECT (SELECT count(*) FROM gateway_app_service"
        """ WHERE name LIKE 's%' AND last_health_json LIKE '{"state": "UP"%'),"""
        " (SELECT count(*) FROM gateway_app_serviceinstance"
        " WHERE health_endpoint != '' AND probe_failures = 0)",
    )
    if (answered, reached) != (living, living):
        raise Failed(f"{living} live: {answered} answered by message, {reached} over HTTP")
