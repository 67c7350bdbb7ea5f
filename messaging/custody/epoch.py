"""Noticing that the broker came back empty: a marker that only it keeps.

The marker is a durable queue with one message that nobody consumes, named after the present epoch
in this database. It is this database's own: one shared by several would be made again by the first
that misses it, and the others would never know.
"""

import logging
import uuid
from typing import Any

from django.db import transaction

from messaging.custody import outbox
from messaging.custody.link import Link
from messaging.envelope import utc_now
from messaging.forking import no_fork_meanwhile
from messaging.models import BusState, InboxMessage, InboxState

logger = logging.getLogger(__name__)

#: The database that this process looked into last; empty before the first look.
_database_id = ""


def whereabouts() -> dict[str, Any]:
    """Return what heartbeats say of this process's database and clock, without asking anybody.

    Instances of a service must share their database, and all of them the time.
    """
    return {"database": _database_id, "at": utc_now().isoformat()}


def check(link: Link) -> bool:
    """Look for the marker; if it is gone begin a new epoch. Return whether one has begun.

    Killed anywhere in between, the next look finds the same. Of several that look at once, one
    begins the epoch.

    Raises:
        BrokerError, PublishError: the broker is away.
        DatabaseError: it is not known what was lost; look again.
    """
    global _database_id
    with no_fork_meanwhile():
        state = BusState.load()
    before, _database_id = state.epoch, state.database_id
    if before and link.has_marker(before):
        return False
    after = uuid.uuid4().hex
    link.make_marker(after)
    with no_fork_meanwhile(), transaction.atomic():
        begun = BusState.objects.filter(pk=1, epoch=before).update(epoch=after)
        lost = 0
        if begun and before:
            lost = outbox.all_lost_by_the_broker()
            lost += InboxMessage.objects.filter(state=InboxState.READY).update(due_at=utc_now())
    if not begun:
        link.remove_marker(after)  # another relay was first
    elif before:
        level = logging.WARNING if lost else logging.INFO
        logger.log(level, "the broker came back empty: %d messages are published again", lost)
    # Before the first marker nothing had been published.
    return bool(begun and before)
