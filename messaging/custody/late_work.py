"""A thread for what nobody else does in time; asleep while there is nothing."""

import logging
import threading
from collections.abc import Callable

from messaging.clock import SYSTEM_CLOCK
from messaging.database_threads import close_database

logger = logging.getLogger(__name__)


class LateWork:
    """Calls a function again and again, as long as it says that there is more to do.

    Args:
        name: of the thread.
        turn: does what is due, and returns whether something is left for later.
        pause_seconds: between two turns.
    """

    def __init__(self, name: str, turn: Callable[[], bool], pause_seconds: float) -> None:
        self._name = name
        self._turn = turn
        self._pause_seconds = pause_seconds
        self._has_work = threading.Event()
        #: Told when there is nothing to do.
        self._is_idle = threading.Event()
        #: Held while the two change together, and while a thread is started.
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None

    def poke(self) -> None:
        """Have the thread look, soon. Never waits."""
        if self._has_work.is_set():
            return
        with self._changing:
            self._is_idle.clear()
            self._has_work.set()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def wait(self, timeout_seconds: float) -> None:
        """Wait until nothing is left to do, not for longer than that."""
        if self._thread is not None:
            self.poke()
            self._is_idle.wait(timeout_seconds)

    def _run(self) -> None:
        while True:
            self._has_work.wait()
            self._has_work.clear()
            while self._do_turn():
                SYSTEM_CLOCK.sleep(self._pause_seconds)
            try:
                close_database()
            except Exception:
                logger.exception("%s: the connection could not be closed", self._name)
            with self._changing:
                if not self._has_work.is_set():
                    self._is_idle.set()

    def _do_turn(self) -> bool:
        try:
            return self._turn()
        except Exception:
            # Whatever it is: without this thread nothing late would ever be done.
            logger.exception("%s: this turn failed", self._name)
            return True
