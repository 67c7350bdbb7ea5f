"""Roles that one process has at a time: a row that says who, and until when.

The holder moves that instant ahead while it lives. On any database, with any number of processes:
each change names the row as it was read and changes nothing if somebody else was faster.
"""

from datetime import datetime, timedelta

from gateway_app.models import Lease


def acquire(role: str, holder: str, seconds: float, now: datetime) -> bool:
    """Take a role that nobody has, or keep it, for so many seconds from now.

    A lease that has lapsed is still its holder's until another one takes it. A lease that ends
    more than twice as far ahead as any is given for was given by a clock that has jumped back
    since, and counts as lapsed; so a jump leaves the role to nobody for that long at most. After a
    jump forward two may believe that they hold it, until the one that lost it asks again: do so
    before acting.

    Args:
        role: what is held.
        holder: unique to one start of one process; not empty.
        seconds: the same for all who want this role.
        now: the present.

    Returns:
        Whether the holder has it now.
    """
    expires_at = now + timedelta(seconds=seconds)
    lease, is_new = Lease.objects.get_or_create(
        role=role, defaults={"holder": holder, "expires_at": expires_at}
    )
    if is_new:
        return True
    believed_until = now + timedelta(seconds=2 * seconds)
    is_alive = lease.holder != "" and now < lease.expires_at <= believed_until
    if is_alive and lease.holder != holder:
        return False
    as_read = Lease.objects.filter(pk=lease.pk, holder=lease.holder, expires_at=lease.expires_at)
    return bool(as_read.update(holder=holder, expires_at=expires_at))


def release(role: str, holder: str) -> bool:
    """Give a role up, so that another one can take it at once; return whether it was held.

    Nothing happens where another one has it. Safe to repeat.
    """
    return bool(Lease.objects.filter(role=role, holder=holder).update(holder=""))


def holder_of(role: str) -> str:
    """Return who has taken a role last and not given it up, lapsed or not; empty: nobody."""
    return Lease.objects.filter(role=role).values_list("holder", flat=True).first() or ""
