"""The statements that every message under custody runs, as SQL text.

Django's ORM takes 0.4 ms to put one of them together, several times what the database takes for
it. Everything that runs seldom stays with the ORM. SQLite and PostgreSQL understand all of them.
"""

from datetime import datetime
from typing import Final

from messaging.custody.sql import Statement, instant
from messaging.models import BusState, DedupHorizon, InboxMessage, OutboxMessage

_STATE: Final = BusState._meta.db_table
_OUTBOX: Final = OutboxMessage._meta.db_table
_INBOX: Final = InboxMessage._meta.db_table
_HORIZON: Final = DedupHorizon._meta.db_table
_COPY: Final = (
    "message_id = %(message_id)s AND target = %(target)s AND generation = %(generation)s"
)
_IS_OPEN: Final = "under_custody AND state IN ('pending', 'published', 'accepted')"


def _insert(table: str, *names: str) -> str:
    places = ", ".join(f"%({name})s" for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"


#: Read before and after each publish.
EPOCH: Final = Statement(f"SELECT epoch FROM {_STATE} WHERE id = 1")
#: Changes nothing if that copy is there.
STORE: Final = Statement(
    _insert(
        _OUTBOX,
        *("message_id", "target", "generation", "source", "type", "kind", "priority", "urgency"),
        *(
            "ordering_key",
            "causation_id",
            "created_at",
            "expires_at",
            "envelope",
            "under_custody",
            "state",
            "due_at",
        ),
        *("publishes", "failures", "held_at", "last_error", "reason"),
    )
    + " ON CONFLICT DO NOTHING"
)


def _claim_due(lock: str) -> Statement:
    return Statement(
        f"UPDATE {_OUTBOX} SET due_at = %(due_at)s WHERE id IN (SELECT id FROM {_OUTBOX} "
        "WHERE urgency = %(urgency)s AND due_at <= %(now)s "
        "AND (held_at IS NULL OR due_at <= %(held_due_at)s) "
        f"ORDER BY due_at, id LIMIT %(limit)s {lock}) "
        "RETURNING created_at, id, message_id, target, generation, envelope, state, "
        "under_custody, first_published_at, published_at, publishes, failures, held_at"
    )


CLAIM_DUE: Final = _claim_due("")
#: Where rows are locked one by one: past those that another relay is about to claim.
CLAIM_DUE_SKIPPING: Final = _claim_due("FOR UPDATE SKIP LOCKED")
MARK_PUBLISHED: Final = Statement(
    f"UPDATE {_OUTBOX} SET state = 'published', published_at = %(now)s, "
    "first_published_at = COALESCE(first_published_at, %(now)s), publishes = publishes + 1, "
    f"due_at = %(due_at)s, held_at = NULL, last_error = '' WHERE {_COPY} AND under_custody "
    "AND state IN ('pending', 'published')"
)
#: Of what is not under custody: the broker has it, that is all.
FORGET_PUBLISHED: Final = Statement(
    f"DELETE FROM {_OUTBOX} WHERE {_COPY} AND NOT under_custody "
    "AND state IN ('pending', 'published')"
)
SETTLE: Final = Statement(
    f"UPDATE {_OUTBOX} SET state = %(outcome)s, settled_at = %(now)s, "
    "told_at = COALESCE(told_at, %(now)s), due_at = NULL, held_at = NULL, reason = %(reason)s "
    f"WHERE {_COPY} AND {_IS_OPEN} RETURNING ordering_key"
)
#: Inserts the row of a run, or takes one that is free. One whose process is gone is not: `begin`
#: puts that on record first.
BEGIN_RUN: Final = Statement(
    _insert(
        f"{_INBOX} AS row",
        *("message_id", "service", "generation", "source", "custodian", "type", "priority"),
        *("created_at", "expires_at", "envelope", "state", "due_at", "run_token", "owner"),
        *("attempts", "unended_runs", "owes_receipt", "sent_at", "begun_at"),
        *("last_error", "signal", "version", "ordering_key"),
    )
    + " ON CONFLICT (message_id, service) DO UPDATE SET state = 'running', "
    "run_token = excluded.run_token, owner = excluded.owner, due_at = excluded.due_at, "
    "unended_runs = row.unended_runs + 1, sent_at = excluded.sent_at, "
    "begun_at = excluded.begun_at, version = excluded.version "
    "WHERE row.generation = excluded.generation AND row.unended_runs < %(max_deaths)s "
    "AND row.state = 'ready' "
    "RETURNING id, attempts, unended_runs"
)
#: Where its custodian's row is in this database and open, no receipt is owed: `SETTLE` follows.
END_RUN: Final = Statement(
    f"UPDATE {_INBOX} SET state = %(outcome)s, run_token = '', due_at = NULL, "
    "finished_at = %(now)s, attempts = attempts + %(tries)s, last_error = %(reason)s, "
    "copies = COALESCE(%(copies)s, copies), "
    "unended_runs = CASE WHEN %(outcome)s = 'handled' THEN 0 ELSE unended_runs END, "
    "owes_receipt = %(has_custodian)s AND NOT EXISTS "
    f"(SELECT 1 FROM {_OUTBOX} WHERE {_COPY} AND {_IS_OPEN}) "
    "WHERE id = %(row_id)s AND state = 'running' AND run_token = %(token)s"
)
_HORIZON_OF: Final = Statement(
    f"SELECT purged_upto, custody_purged_upto FROM {_HORIZON} "
    "WHERE service = %(service)s AND source = %(source)s"
)


def horizon_of(service: str, source: str, *, in_custody: bool) -> datetime | None:
    """Return up to when the inbox has forgotten what a source said.

    Args:
        service: whose inbox.
        source: who said it.
        in_custody: of what is CRITICAL or under custody, which is remembered longer.
    """
    row = _HORIZON_OF.fetch({"service": service, "source": source})
    return None if row is None else instant(row[in_custody])
