"""What a test wants to go wrong, and the moments at which it does."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from messaging.context import current_message
from messaging.patterns import matches


class ProcessDied(BaseException):
    """Stands where ``kill -9`` would end a worker: nothing that runs there catches it."""


class Moment(StrEnum):
    """When a worker dies."""

    #: The run is counted, the handler has not begun.
    BEFORE = "before"
    #: The handler has done all it does; nothing of that is on record. With ``atomic=True`` its
    #: transaction is not committed.
    DURING = "during"
    #: All is on record; the broker has not been told.
    AFTER = "after"


@dataclass(slots=True)
class _Fault:
    service: str
    pattern: str
    times: int
    moment: Moment | None = None

    def strikes(self, service: str, message_type: str) -> bool:
        """Return whether it happens now, and count it."""
        is_it = self.times > 0 and self.service in ("", service)
        if is_it and matches(self.pattern, message_type):
            self.times -= 1
            return True
        return False

    def __str__(self) -> str:
        what = f"crash {self.moment}" if self.moment else "duplicate"
        where = f" at {self.service}" if self.service else ""
        return f"{what} {self.pattern}{where} ({self.times} times left)"


class Faults:
    """What shall go wrong in one harness."""

    def __init__(self) -> None:
        self._crashes: list[_Fault] = []
        self._lost_acks: list[_Fault] = []
        #: Services whose receipts get lost.
        self.unheard: set[str] = set()

    def crash(self, service: str, moment: Moment, pattern: str, times: int) -> None:
        """Have the worker of a service die with the next messages that match."""
        self._crashes.append(_Fault(service, pattern, times, moment))

    def lose_ack(self, service: str, pattern: str, times: int) -> None:
        """Have the next messages that match delivered once more, though they were acked."""
        self._lost_acks.append(_Fault(service, pattern, times))

    def strike(self, service: str, moment: Moment, message_type: str) -> None:
        """Raise ProcessDied if the process shall die at this moment."""
        for fault in self._crashes:
            if fault.moment is moment and fault.strikes(service, message_type):
                raise ProcessDied(f"{service} {moment} {message_type}")

    def loses_ack(self, service: str, message_type: str) -> bool:
        """Return whether this acknowledgement gets lost."""
        return any(fault.strikes(service, message_type) for fault in self._lost_acks)

    def left(self) -> list[str]:
        """Return what has not happened yet, as text."""
        return [str(fault) for fault in (*self._crashes, *self._lost_acks) if fault.times > 0]

    def guarded(self, service: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a handler that does the same, and in which its process may die."""
        strike = functools.partial(self._strike_here, service)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*arguments: Any) -> Any:
                strike(Moment.BEFORE)
                result = await function(*arguments)
                strike(Moment.DURING)
                return result

            return run_async

        @functools.wraps(function)
        def run(*arguments: Any) -> Any:
            strike(Moment.BEFORE)
            result = function(*arguments)
            strike(Moment.DURING)
            return result

        return run

    def _strike_here(self, service: str, moment: Moment) -> None:
        message = current_message()
        if message is not None:
            self.strike(service, moment, message.type)
