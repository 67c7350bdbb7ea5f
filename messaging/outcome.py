"""How a delivery ended, for the worker to settle."""

import traceback
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the broker may do with the message."""

    #: True: the broker may forget it. False: it must deliver it again.
    is_settled: bool
    #: Text of the error, if it was not handled.
    error: str = ""
    #: For monitors.
    traceback: str = ""


HANDLED: Final = Outcome(is_settled=True)


def settled(error: BaseException | str) -> Outcome:
    """Return the outcome of a message that was not handled and is on record elsewhere."""
    if isinstance(error, str):
        return Outcome(is_settled=True, error=error)
    text = f"{type(error).__name__}: {error}"
    return Outcome(True, text, "".join(traceback.format_exception(error)))
