"""The time by which the leases of others are judged.

A clock that jumps ahead would find every lease over, take the runs of processes that live, and
count each as a death. So a jump ahead is believed only once it has lasted for a lease: by then all
who saw it have renewed theirs by the new time. One back is believed at once: it only waits.
"""

from datetime import UTC, datetime
from typing import Final

from messaging.clock import SYSTEM_CLOCK, Clock

#: Clocks are put right by less than this all the time.
SLACK_SECONDS: Final = 2.0


class LeaseClock:
    """Wall time that goes on as the monotonic clock does.

    Threads and forks share it without a lock: what one of them overwrites the next look repairs.

    Args:
        lease_seconds: how long a jump ahead is not believed.
        clock: time, for tests to move.
    """

    def __init__(self, lease_seconds: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._lease_seconds = lease_seconds
        self._clock = clock
        #: From the monotonic clock to the wall's, as it is believed; None: nobody has asked yet.
        self._offset: float | None = None
        #: When the wall clock was seen ahead of that, by the monotonic one; None: it is not.
        self._ahead_since: float | None = None

    def now(self) -> datetime:
        """Return the present instant."""
        monotonic = self._clock.monotonic()
        offset = self._clock.now() - monotonic
        believed, ahead_since = self._offset, self._ahead_since
        if believed is None or offset <= believed + SLACK_SECONDS:
            self._offset, self._ahead_since = offset, None
            return datetime.fromtimestamp(monotonic + offset, UTC)
        if ahead_since is None:
            self._ahead_since = monotonic
        elif monotonic - ahead_since >= self._lease_seconds:
            self._offset, self._ahead_since = offset, None
            return datetime.fromtimestamp(monotonic + offset, UTC)
        return datetime.fromtimestamp(monotonic + believed, UTC)
