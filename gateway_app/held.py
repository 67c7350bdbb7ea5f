"""Letting out what was held for a service while it was down: a little at first, then faster.

Called by the registry: when a service returns, and at every sweep while something is held for it.
"""

from datetime import datetime
from typing import Final

from messaging.apps import configured
from messaging.custody import held

#: Largest batch. It is let out in transactions of `held.LET_OUT_AT_ONCE`: with bodies of 100 KB
#: all of it would keep SQLite's write lock for seconds.
MOST: Final = 5_000


def waiting_services() -> list[str]:
    """Return the services for which messages are held, sorted; cheap however many there are."""
    return held.targets()


def let_out(service: str, returned_at: datetime | None, now: datetime) -> int:
    """Make the next batch of what is held for a service due now; relays publish it.

    The most urgent first, the oldest of them first. Two calls at once let out two batches, no row
    twice.

    Args:
        service: it serves again.
        returned_at: since when; None: nobody has seen it go.
        now: the present instant.

    Returns:
        How many.
    """
    config = configured()
    size = batch_size(config.ramp_batch, config.heartbeat_seconds, returned_at, now)
    return held.let_out(service, size, now)


def batch_size(
    first: int, heartbeat_seconds: float, returned_at: datetime | None, now: datetime
) -> int:
    """Return how many are let out at one time: twice as many with every heartbeat, up to `MOST`.

    A service that nobody has seen go needs no care, and gets `MOST`. So does one whose return is
    still to come, because the clock has been set back: it would have its first batch again and
    again until then. Clocks of two hosts may differ by a heartbeat.
    """
    if returned_at is None:
        return MOST
    heartbeats = (now - returned_at).total_seconds() // heartbeat_seconds
    if heartbeats < -1:
        return MOST
    heartbeats = max(0.0, heartbeats)
    return min(MOST, first * 2 ** min(int(heartbeats), MOST.bit_length()))
