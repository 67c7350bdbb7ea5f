"""Whether those who hold leases have had their chance to renew them.

A lease is renewed by a write. Where the database has taken none for longer than a lease lasts (a
handler's long transaction on SQLite, a server that was away) every lease is over, and all who hold
one may live. Taken then, a run that goes on would be begun a second time, and count as a death.
"""

from typing import Final

from messaging.clock import BUS_CLOCK, Clock
from messaging.custody.runs import RENEW_SECONDS
from messaging.database_threads import write_transaction

#: Who waits longer for its turn to write finds a database that may have kept others waiting.
SLOW_SECONDS: Final = 2.0
#: In so long each of them has renewed its lease, with a turn as slow as that.
SECONDS: Final = RENEW_SECONDS + 2 * SLOW_SECONDS
#: Who has not looked for so long does not know what was in between.
_GAP_SECONDS: Final = 2 * SLOW_SECONDS


class Patience:
    """Of one relay, which looks again and again while there are leases that are over."""

    def __init__(self, clock: Clock = BUS_CLOCK) -> None:
        self._clock = clock
        self._began_at = self._looked_at = float("-inf")

    def is_over(self) -> bool:
        """Return whether the database has taken writes at each look of the last `SECONDS`.

        Raises:
            DatabaseError: it takes none now.
        """
        asked_at = self._clock.monotonic()
        with write_transaction(to_disk=False):
            now = self._clock.monotonic()
        if now - asked_at > SLOW_SECONDS or asked_at - self._looked_at > _GAP_SECONDS:
            self._began_at = now
        self._looked_at = now
        return now - self._began_at >= SECONDS
