"""What this process remembers of the registry, so that the gateway may be away for a while."""

import copy
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from messaging.clock import SYSTEM_CLOCK, Clock
from messaging.envelope import utc_now
from messaging.errors import (
    BrokerError,
    PublishError,
    RemoteError,
    RequestError,
    ServiceNotFound,
)
from messaging.forking import after_fork

logger = logging.getLogger(__name__)

#: Services remembered; the longest unasked are forgotten first.
REMEMBERED: Final = 1_000
#: What a request raises that the gateway has not answered, or not with an answer.
_FAILED: Final = (RequestError, BrokerError, PublishError)


class _Known(NamedTuple):
    answer: dict[str, Any]
    given_at: float

    def copy(self) -> dict[str, Any]:
        return copy.deepcopy(self.answer)


class Directory:
    """Answers about services: new ones, or the last known where none can be had. Thread-safe.

    Args:
        ask: asks the gateway about a service, with a timeout in seconds.
        fresh_seconds: an answer is good for so long, and a gateway that is away left alone.
        clock: time, for tests to move.
    """

    def __init__(
        self,
        ask: Callable[[str, float], dict[str, Any]],
        fresh_seconds: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._ask = ask
        self._fresh_seconds = fresh_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        #: Not asked before then, where something is known; None: the gateway answers.
        self._silent_until: float | None = None
        #: Whether this silence has been logged.
        self._has_told = False
        self._fork_token = after_fork(self._renew_lock)

    def find(self, service: str, timeout_seconds: float, *, fresh: bool = False) -> dict[str, Any]:
        """Return what the gateway says of a service; see `ServiceCommunicator.discover`.

        Args:
            service: its name.
            timeout_seconds: longest wait where nothing is known; else it is `fresh_seconds` at
                most.
            fresh: whether to ask in any case, and to have the error rather than an old answer.

        Raises:
            MessagingError: the gateway says that there is no such service, or nothing is known.
        """
        known = None if fresh else self._last(service)
        if known is not None:
            if self._is_good_enough(known):
                return known.copy()
            timeout_seconds = min(timeout_seconds, self._fresh_seconds)
        try:
            answer = self._ask(service, timeout_seconds)
        except _FAILED as exc:
            if _is_not_found(exc):
                self._forget(service)
                raise
            self._note_silence()
            if known is None:
                raise
            if not self._has_told:
                self._has_told = True
                logger.warning("the gateway's last answers are used: %s", exc)
            return known.copy()
        return self._keep(service, answer)

    def _last(self, service: str) -> _Known | None:
        with self._lock:
            if service in self._known:
                self._known.move_to_end(service)
            return self._known.get(service)

    def _is_good_enough(self, known: _Known) -> bool:
        now = self._clock.monotonic()
        if now - known.given_at < self._fresh_seconds:
            return True
        with self._lock:
            if self._silent_until is None:
                return False
            if now < self._silent_until:
                return True
            # This caller finds out whether the gateway is back; the others do not wait with it.
            self._silent_until = now + self._fresh_seconds
            return False

    def _keep(self, service: str, answer: dict[str, Any]) -> dict[str, Any]:
        known = _Known({**answer, "as_of": utc_now().isoformat()}, self._clock.monotonic())
        with self._lock:
            self._note_answer()
            self._known[service] = known
            self._known.move_to_end(service)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known.copy()

    def _forget(self, service: str) -> None:
        with self._lock:
            self._note_answer()
            self._known.pop(service, None)

    def _note_silence(self) -> None:
        with self._lock:
            self._silent_until = self._clock.monotonic() + self._fresh_seconds

    def _note_answer(self) -> None:
        self._silent_until = None
        self._has_told = False

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it


def _is_not_found(error: BaseException) -> bool:
    """Return whether it is the gateway's word that there is no such service."""
    return isinstance(error, RemoteError) and (
        error.code == "not_found" or error.type == ServiceNotFound.__name__
    )
