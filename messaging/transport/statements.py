"""The hot statements: written with SQLAlchemy Core, turned into SQL text once, at import.

Compiling costs nothing per message that way, and a column renamed in `schema` fails at import,
not at three in the morning. Parameters are ``:name``; every text takes a mapping.
"""

from typing import Final

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Integer,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)

from messaging.transport.schema import (
    DIALECT,
    binding,
    consumer,
    delayed,
    exchange,
    lease,
    message,
    meta,
    queue,
    ready,
    session,
)


def sql(expression: ClauseElement) -> str:
    """Return an expression as SQLite's text with ``:name`` parameters."""
    return str(expression.compile(dialect=DIALECT))


#: SQLAlchemy would render the missing OFFSET as a parameter of its own.
_NONE: Final[ColumnElement[int]] = literal_column("0")
_count = bindparam("count", type_=Integer)
_ids = func.json_each(bindparam("ids")).table_valued("value")
_listed = select(_ids.c.value)

#: Ids for :count messages and both change counters in one statement. Ids are given out under the
#: write lock, hence FIFO in commit order. (AUTOINCREMENT costs a quarter of the publish rate.)
TAKE_IDS: Final = sql(
    update(meta)
    .values(next_id=meta.c.next_id + _count)
    .returning(meta.c.next_id, meta.c.topology, meta.c.consumers)
)
VERSIONS: Final = sql(select(meta.c.topology, meta.c.consumers))
INSERT_MESSAGE: Final = sql(insert(message))
INSERT_READY: Final = sql(insert(ready))
INSERT_DELAYED: Final = sql(insert(delayed))
INSERT_LEASE: Final = sql(insert(lease))

#: Routing, by index.
EXCHANGE: Final = sql(
    select(exchange.c.type, exchange.c.version).where(exchange.c.name == bindparam("exchange"))
)
DIRECT_ROUTES: Final = sql(
    select(binding.c.queue_id).where(
        binding.c.exchange == bindparam("exchange"),
        binding.c.routing_key == bindparam("routing_key"),
    )
)
ALL_ROUTES: Final = sql(
    select(binding.c.routing_key, binding.c.queue_id).where(
        binding.c.exchange == bindparam("exchange")
    )
)
QUEUE_BY_NAME: Final = sql(
    select(queue.c.id, queue.c.message_ttl_ms).where(queue.c.name == bindparam("name"))
)
QUEUE_TTL: Final = sql(select(queue.c.message_ttl_ms).where(queue.c.id == bindparam("queue_id")))
CONSUMERS: Final = sql(
    select(consumer.c.session_id, consumer.c.takes, consumer.c.room).where(
        consumer.c.queue_id == bindparam("queue_id")
    )
)

_leases = (
    select(func.count())
    .select_from(lease)
    .where(lease.c.session_id == consumer.c.session_id)
    .scalar_subquery()
)
#: Who has room, where nothing waits: the one with the fewest leases.
TAKER: Final = sql(
    select(consumer.c.session_id)
    .where(
        consumer.c.queue_id == bindparam("queue_id"),
        consumer.c.room > _leases,
        ~exists().where(ready.c.queue_id == bindparam("queue_id")),
    )
    .order_by(_leases)
    .limit(literal_column("1"))
    .offset(_NONE)
)
SESSION_LEASES: Final = sql(
    select(lease.c.id).where(lease.c.session_id == bindparam("session_id"))
)
#: All that a look without a lock tells, in one snapshot: whether queues have changed, when the
#: next delayed message is due, and which of these queues have something to claim, as JSON.
LOOK: Final = sql(
    select(
        meta.c.topology,
        select(func.min(delayed.c.due_at)).scalar_subquery(),
        select(func.json_group_array(_ids.c.value))
        .where(exists().where(ready.c.queue_id == _ids.c.value))
        .scalar_subquery(),
    )
)
_heads = (
    select(ready.c.prio, ready.c.id)
    .where(ready.c.queue_id == bindparam("queue_id"))
    .order_by(ready.c.prio, ready.c.id)
    .limit(bindparam("limit"))
    .offset(_NONE)
)
#: RETURNING gives the rows in no order that SQLite promises: sort by (prio, id).
CLAIM: Final = sql(
    delete(ready)
    .where(ready.c.queue_id == bindparam("queue_id"), tuple_(ready.c.prio, ready.c.id).in_(_heads))
    .returning(ready.c.prio, ready.c.id, ready.c.attempts)
)
READ_MESSAGES: Final = sql(
    select(message.c.id, message.c.expires_at, message.c.props, message.c.body).where(
        message.c.id.in_(_listed)
    )
)
#: Claim without a lease, for queues that die with their consumer.
TAKE_MESSAGES: Final = sql(
    delete(message)
    .where(message.c.id.in_(_listed))
    .returning(message.c.id, message.c.expires_at, message.c.props, message.c.body)
)
SESSION_EXISTS: Final = sql(
    select(literal_column("1")).where(session.c.id == bindparam("session_id"))
)

#: Fenced: a lease that went to another session is not touched.
_held = (lease.c.id == bindparam("message_id"), lease.c.session_id == bindparam("session_id"))
DELETE_LEASE: Final = sql(delete(lease).where(*_held))
DELETE_MESSAGE: Final = sql(delete(message).where(message.c.id == bindparam("message_id")))
#: Back under the old id: in front of everything of its level that was sent later.
#: :undo is 1 for what no handler ever saw, so that it does not count as delivered.
_back = select(
    lease.c.queue_id,
    lease.c.prio,
    lease.c.id,
    lease.c.attempts - bindparam("undo"),
    bindparam("now"),
)
REQUEUE: Final = sql(
    insert(ready)
    .from_select(list(ready.c.keys()), _back.where(*_held))
    .returning(ready.c.queue_id)
)
REQUEUE_SESSION: Final = sql(
    insert(ready)
    .from_select(list(ready.c.keys()), _back.where(lease.c.session_id == bindparam("session_id")))
    .returning(ready.c.queue_id)
)
DELETE_SESSION_LEASES: Final = sql(
    delete(lease).where(lease.c.session_id == bindparam("session_id"))
)

NEXT_DUE: Final = sql(
    select(delayed.c.due_at).order_by(delayed.c.due_at).limit(literal_column("1")).offset(_NONE)
)
_due = (
    select(delayed.c.due_at, delayed.c.id)
    .where(delayed.c.due_at <= bindparam("now"))
    .order_by(delayed.c.due_at, delayed.c.id)
    .limit(bindparam("limit"))
    .offset(_NONE)
)
TAKE_DUE: Final = sql(
    delete(delayed)
    .where(tuple_(delayed.c.due_at, delayed.c.id).in_(_due))
    .returning(delayed.c.id, delayed.c.queue_id, delayed.c.prio)
)
