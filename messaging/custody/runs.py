"""The runs of this process: their leases are renewed while handlers work, within their timeout."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.db.models import F

from messaging.clock import BUS_CLOCK, SYSTEM_CLOCK
from messaging.custody.lease_clock import LeaseClock
from messaging.database_threads import close_database
from messaging.envelope import utc_now
from messaging.forking import after_fork, without_fork
from messaging.models import InboxMessage, InboxState

logger = logging.getLogger(__name__)

#: A run whose process does not renew it for so long may be begun again.
LEASE_SECONDS: Final = 30.0
#: Two renewals may fail or come late.
RENEW_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Run:
    message_id: str
    ends_at: float


class Runs:
    """What runs here, by token. Thread-safe; a forked child starts with none."""

    def __init__(self) -> None:
        self._reset()
        self._fork_token = after_fork(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._suspect = ""
        #: Runs that ended without the database taking note of it, by token: their rows.
        self._broken_off: dict[str, int] = {}
        self._thread: threading.Thread | None = None

    def claim_suspect(self, token: str) -> bool:
        """Let a message have its last chance here; return False if another one has it now.

        It may be about to kill this process, and a second one beside it would be parked, too.
        """
        with self._lock:
            if self._suspect and self._suspect != token:
                return False
            self._suspect = token
            return True

    def release_suspect(self, token: str) -> None:
        """Undo `claim_suspect`; nothing happens if it was not claimed."""
        with self._lock:
            if self._suspect == token:
                self._suspect = ""

    @contextmanager
    def renewed(self, token: str, message_id: str, timeout_seconds: float) -> Iterator[None]:
        """Renew a run's lease within the block, for as long as its handler may take."""
        with self._lock:
            ends_at = BUS_CLOCK.monotonic() + timeout_seconds
            self._runs[token] = _Run(message_id, ends_at)
            self._start()
        try:
            yield
        finally:
            with self._lock:
                self._runs.pop(token, None)
            self.release_suspect(token)

    def broken_off(self, token: str, row_id: int) -> None:
        """Give a run back, uncounted, as soon as the database takes note of it.

        The process lives: three failures of the database must not look like three deaths.
        """
        with self._lock:
            self._broken_off[token] = row_id
            self._start()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._renew_all, name="messaging-leases", daemon=True
            )
            self._thread.start()

    def _renew_all(self) -> None:
        while True:
            SYSTEM_CLOCK.sleep(RENEW_SECONDS)
            with self._lock:
                now = BUS_CLOCK.monotonic()
                runs = {token: run for token, run in self._runs.items() if run.ends_at > now}
                broken_off = dict(self._broken_off)
                if not self._runs and not broken_off:
                    self._thread = None
                    break
            if runs:
                _renew(runs)
            for token, row_id in broken_off.items():
                if _give_back(token, row_id):
                    with self._lock:
                        self._broken_off.pop(token, None)
        close_database()


@without_fork
def _renew(runs: dict[str, _Run]) -> None:
    try:
        InboxMessage.objects.filter(
            message_id__in=[run.message_id for run in runs.values()],
            run_token__in=list(runs),
            state=InboxState.RUNNING,
        ).update(due_at=utc_now() + timedelta(seconds=LEASE_SECONDS))
    except Exception as exc:
        # The lease outlasts two of these; after that the run may be begun elsewhere, and this
        # one's outcome is refused.
        logger.warning("leases of %d runs could not be renewed: %s", len(runs), exc)
        close_database()


@without_fork
def _give_back(token: str, row_id: int) -> bool:
    """``running --> ready`` for a run that was broken off; return whether that is settled."""
    try:
        InboxMessage.objects.filter(pk=row_id, run_token=token, state=InboxState.RUNNING).update(
            state=InboxState.READY,
            unended_runs=F("unended_runs") - 1,
            run_token="",
            due_at=utc_now(),
        )
    except Exception as exc:
        logger.warning("a run could not be given back yet: %s", exc)
        close_database()
        return False
    return True


#: Of this process.
RUNS: Final = Runs()
LEASES: Final = LeaseClock(LEASE_SECONDS, BUS_CLOCK)
