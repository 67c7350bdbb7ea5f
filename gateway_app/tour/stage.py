"""What a step is, and what it has to work with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic

from typing_extensions import TypeVar

from gateway_app.stack import Stack
from gateway_app.tour.records import Looks, Records
from gateway_app.tour.sandbox import Sandbox
from messaging import ServiceCommunicator
from messaging.clock import SYSTEM_CLOCK

T = TypeVar("T")
#: How a play looks into its database; the tour's way unless it says so.
L = TypeVar("L", bound=Looks, default=Records)

#: Everything in a play takes milliseconds; this is what a busy machine may make of them.
EVENTUALLY_SECONDS: Final = 20.0
#: Pause between looks; each look is a request, so not too short.
LOOK_SECONDS: Final = 0.05


class StepFailed(Exception):
    """A step saw something else than it expected. The text says what it saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[L]):
    """What the steps share."""

    #: The processes; started by the first step.
    stack: Stack
    #: Speaks to the services from outside, as one more service would.
    communicator: ServiceCommunicator
    #: Where they play; runs commands there.
    sandbox: Sandbox
    #: What is in its database.
    records: L
    #: Tells what a step waits for, while it waits.
    note: Callable[[str], object]

    def eventually(
        self, what: str, look: Callable[[], T | None], seconds: float = EVENTUALLY_SECONDS
    ) -> T:
        """Look until there is something to see, and return it.

        Args:
            what: is waited for, for people.
            look: returns None where there is nothing yet.
            seconds: how long to look.

        Raises:
            StepFailed: there was nothing for so long.
            StackError: a process died meanwhile.
        """
        self.note(f"waiting for {what}")
        give_up_at = SYSTEM_CLOCK.monotonic() + seconds
        while (seen := look()) is None:
            self.stack.check()
            if SYSTEM_CLOCK.monotonic() > give_up_at:
                raise StepFailed(f"no {what} within {seconds:g} s")
            SYSTEM_CLOCK.sleep(LOOK_SECONDS)
        return seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Generic[L]):
    """One step of a play."""

    title: str
    #: What shall be seen, for people.
    expected: str
    #: Does it and returns what was seen. Raises `StepFailed`, `StackError` or `MessagingError`.
    play: Callable[[Stage[L]], str]


def require(condition: bool, seen: str) -> None:
    """Fail the step unless the condition holds.

    Raises:
        StepFailed: with what was seen instead.
    """
    if not condition:
        raise StepFailed(seen)
