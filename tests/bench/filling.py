"""What is there before a measurement begins: waiting messages, old rows, other services.

Written in bulk past everything that would make it one by one; what is written is what one message
or one registration leaves behind.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from kombu import Connection

from messaging import MessagingConfig
from messaging.brokers import profile_for
from messaging.clock import SYSTEM_CLOCK
from messaging.topology import Topology
from tests.bench.measurement import Measurement

#: Rows of one transaction, so that the log stays smaller than the file.
_BATCH: Final = 50_000
#: RabbitMQ is asked something after so many messages, and answers when it has them: a client that
#: is faster runs into a timeout of its socket.
_RABBITMQ_BATCH: Final = 500
_RABBITMQ_STORES_PER_SECOND: Final = 10_000
#: Redis is sent so many messages with one command.
_REDIS_BATCH: Final = 1000
_NO_OFFERS: Final = '{"routes": [], "handles": {}, "subscriptions": [], "contract": ""}'
_OLD: Final = "2026-01-01 00:00:00"
_NUMBERS: Final = "WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n LIMIT ?)"


def copy_waiting_message(run: Measurement, copies: int) -> None:
    """Have so many more of the one message that waits for service 0, behind it."""
    fill: Mapping[str, Callable[[Measurement, int], None]] = {
        "": _copy_in_file,
        "amqp": _copy_in_rabbitmq,
        "redis": _copy_in_redis,
    }
    fill[run.contestant.server](run, copies)


def add_old_rows(database: Path, count: int) -> None:
    """Put that many messages, handled and settled long ago, into outbox and inbox."""
    envelope = "x" * 400
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        for start in range(0, count, _BATCH):
            limit = start, min(_BATCH, count - start)
            db.execute("BEGIN")
            db.execute(
                f"{_NUMBERS} INSERT INTO messaging_outboxmessage (message_id, target, generation,"
                " source, type, kind, priority, urgency, causation_id, created_at, envelope,"
                " under_custody, state, first_published_at, published_at, publishes, failures,"
                " told_at, settled_at, last_error, reason)"
                f" SELECT 'old' || i, 'svc0', 0, 'client', 'order.paid', 'command', 'CRITICAL', 3,"
                f" '', '{_OLD}', '{envelope}', 1, 'handled', '{_OLD}', '{_OLD}', 1, 0, '{_OLD}',"
                f" '{_OLD}', '', '' FROM n",
                limit,
            )
            db.execute(
                f"{_NUMBERS} INSERT INTO messaging_inboxmessage (message_id, service, generation,"
                " source, custodian, type, priority, created_at, envelope, state, run_token,"
                " owner, attempts, unended_runs, owes_receipt, begun_at, finished_at, last_error,"
                " signal, version)"
                f" SELECT 'old' || i, 'svc0', 0, 'client', 'client', 'order.paid', 'CRITICAL',"
                f" '{_OLD}', '{envelope}', 'handled', '', 'x', 0, 0, 0, '{_OLD}', '{_OLD}', '',"
                " '', '' FROM n",
                limit,
            )
            db.execute("COMMIT")
        db.execute("ANALYZE")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def register_services(run: Measurement, count: int) -> None:
    """Register services that run, and give each its queue; none of them is sent anything."""
    names = [f"other{number}" for number in range(count)]
    with closing(sqlite3.connect(run.database)) as db, db:
        for name in names:
            add_service(db, name, f"{name}.task")
    config = MessagingConfig(broker_url=run.broker_url, namespace=run.namespace)
    topology = Topology(config, profile_for(run.broker_url))
    with Connection(run.broker_url) as connection:
        for name in names:
            queue = topology.worker_queue(name, [f"{name}.#"])
            queue(connection.default_channel).declare()


def record_event(db: sqlite3.Connection, cause: str) -> None:
    """Put a transition of some service on record, as of now."""
    (service,) = db.execute("SELECT min(id) FROM gateway_app_service").fetchone()
    (now,) = db.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')").fetchone()
    states = {"previous_state": "SUSPECT", "state": "UP"}
    _insert(db, "healthrecord", service_id=service, instance_id="", cause=cause, at=now, **states)


def add_service(db: sqlite3.Connection, name: str, message: str) -> None:
    """Register a service with one instance, one handler, and one route that leads there."""
    now = "2100-01-01 00:00:00"  # heard of so lately that no sweep takes it for silent
    revision = _next_revision(db)
    service = _insert(db, "service", name=name, version="1", tracked=1, revision=revision)
    _insert(
        db,
        "serviceinstance",
        instance_id=f"{name}-1",
        service_id=service,
        version="1",
        state="UP",
        heard="UP",
        registered_at=now,
        last_seen_at=now,
    )
    _insert(
        db,
        "route",
        service_id=service,
        method="GET",
        path=f"/api/{name}",
        shape=f"/api/{name}",
        message=message,
    )
    _insert(db, "subscription", service_id=service, pattern=f"{name}.#")
    _insert(db, "handledtype", service_id=service, type=message)


def add_instances(db: sqlite3.Connection, name: str, instance_ids: Sequence[str]) -> None:
    """Register a service with instances that were heard of just now, and offer one handler."""
    (now,) = db.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')").fetchone()
    revision = _next_revision(db)
    service = _insert(db, "service", name=name, version="1", tracked=1, revision=revision)
    offers = _insert(db, "offeredset", service_id=service, digest=name, offers_json=_NO_OFFERS)
    for instance_id in instance_ids:
        _insert(
            db,
            "serviceinstance",
            instance_id=instance_id,
            service_id=service,
            version="1",
            state="UP",
            heard="UP",
            offers_id=offers,
            registered_at=now,
            last_seen_at=now,
        )
    _insert(db, "handledtype", service_id=service, type=f"{name}.task")


def _next_revision(db: sqlite3.Connection) -> int:
    if not db.execute("SELECT 1 FROM gateway_app_registrystatus").fetchone():
        _insert(db, "registrystatus", id=1)
    (revision,) = db.execute(
        "UPDATE gateway_app_registrystatus SET revision = revision + 1 RETURNING revision"
    ).fetchone()
    return int(revision)


def _insert(db: sqlite3.Connection, model: str, **values: Any) -> int:
    """Insert a row of the gateway's; return its id. Numbers that are not given are 0, texts ''."""
    table = f"gateway_app_{model}"
    for _, column, kind, is_needed, *_rest in db.execute(f"PRAGMA table_info({table})"):
        if is_needed and column != "id":
            values.setdefault(column, "" if kind.lower().startswith(("varchar", "text")) else 0)
    places = ", ".join("?" * len(values))
    statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})"
    return int(db.execute(statement, tuple(values.values())).lastrowid or 0)


def _copy_in_file(run: Measurement, copies: int) -> None:
    with closing(sqlite3.connect(run.folder / "broker.sqlite3", isolation_level=None)) as db:
        (first,) = db.execute("SELECT next_id FROM meta").fetchone()
        queue_id, prio, at, sent_at, props, body = db.execute(
            "SELECT r.queue_id, r.prio, r.at, m.sent_at, m.props, m.body FROM queue q"
            " JOIN ready r ON r.queue_id = q.id JOIN message m ON m.id = r.id WHERE q.name = ?",
            (f"{run.namespace}.svc0",),
        ).fetchone()
        for start in range(0, copies, _BATCH):
            limit = first + start, min(_BATCH, copies - start)
            db.execute("BEGIN")
            db.execute(
                f"{_NUMBERS} INSERT INTO message (id, queue_id, sent_at, props, body)"
                " SELECT i, ?, ?, ?, ? FROM n",
                (*limit, queue_id, sent_at, props, body),
            )
            db.execute(
                f"{_NUMBERS} INSERT INTO ready (queue_id, prio, id, attempts, at)"
                " SELECT ?, ?, i, 0, ? FROM n",
                (*limit, queue_id, prio, at),
            )
            db.execute("COMMIT")
        db.execute("UPDATE meta SET next_id = ?", (first + copies,))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy_in_rabbitmq(run: Measurement, copies: int) -> None:
    queue = f"{run.namespace}.svc0"
    with Connection(run.broker_url) as connection:
        channel = connection.default_channel
        model = channel.basic_get(queue)
        for number in range(copies):
            channel.basic_publish(model, "", queue)
            if number % _RABBITMQ_BATCH == 0:
                channel.queue_declare(queue, passive=True)
        channel.basic_reject(model.delivery_tag, requeue=True)
    # It goes on moving them to its disk for a while, which is no part of what follows.
    SYSTEM_CLOCK.sleep(copies / _RABBITMQ_STORES_PER_SECOND)


def _copy_in_redis(run: Measurement, copies: int) -> None:
    with Connection(run.broker_url) as connection:
        client: Any = connection.default_channel.client
        (key,) = client.scan_iter(f"{run.namespace}:svc0*", _type="list")
        model = client.lindex(key, 0).decode()
        tag = model.partition('"delivery_tag": "')[2].partition('"')[0]
        for start in range(0, copies, _REDIS_BATCH):
            # kombu tells deliveries apart by their tags alone.
            numbers = range(start, min(copies, start + _REDIS_BATCH))
            client.lpush(key, *(model.replace(tag, f"copy-{number}") for number in numbers))
