"""What heartbeats said their workers had handled, kept by the second for an hour."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from gateway_app.flow import rows
from gateway_app.flow.rows import Row
from gateway_app.models import FlowSample
from gateway_app.removing import remove_oldest
from messaging.custody.sql import Statement

KEPT_SECONDS: Final = 3600.0
#: A clock of a worker that is further off is not believed: the sample counts when it came.
MOST_APART_SECONDS: Final = 120.0


#: As text: the ORM takes longer to put it together than the database for it.
_KEEP: Final = Statement(
    f"INSERT INTO {FlowSample._meta.db_table} "
    "(target, message_id, received_at, rows_json, is_added) "
    "VALUES (%(target)s, %(message_id)s, %(received_at)s, %(rows_json)s, %(is_added)s) "
    "ON CONFLICT DO NOTHING"
)

#: What is kept of one heartbeat, by column.
Sample = Mapping[str, Any]


def sample_of(target: str, said: Any, message_id: str, now: datetime) -> Sample | None:
    """Return what to keep of a heartbeat; None where it said nothing that is sound.

    Args:
        target: whose heartbeat.
        said: see `rows.said_by`.
        message_id: of the heartbeat.
        now: when it came.
    """
    found = rows.said_by(target, said)
    if not found:
        return None
    present = now.timestamp()
    believed = [
        row
        if abs(present - row.second) <= MOST_APART_SECONDS
        else row._replace(second=int(present))
        for row in found
    ]
    return {
        "target": target,
        "message_id": message_id,
        "received_at": now,
        "rows_json": rows.to_text(believed),
        "is_added": False,
    }


def keep(sample: Sample | None) -> None:
    """Keep a sample, in the caller's transaction; nothing if there is none.

    Safe to repeat: a message that the broker delivers again is kept once. The transaction need not
    wait for the disk: a power cut takes the last moments of the history with it.
    """
    if sample is not None:
        _KEEP.run(sample)


def since(began_at: datetime) -> Iterator[Row]:
    """Yield the rows of all seconds from an instant on, less than an hour ago; in no order."""
    # Received after its last second. Without an order: else SQLite reads all of the table in it.
    samples = FlowSample.objects.filter(received_at__gte=began_at).order_by()
    for target, text in samples.values_list("target", "rows_json"):
        for row in rows.from_text(target, text):
            if row.second >= began_at.timestamp():
                yield row


def sweep(now: datetime) -> None:
    """Remove what is too old, if it is part of the summaries. Safe to repeat."""
    old = FlowSample.objects.filter(
        received_at__lt=now - timedelta(seconds=KEPT_SECONDS), is_added=True
    ).order_by("received_at")
    remove_oldest(old)
