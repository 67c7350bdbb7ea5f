"""Waits until everything that was accepted has come to an end, or nothing moves any more."""

from typing import Final

from gateway_app.process import is_asked_again
from messaging.clock import SYSTEM_CLOCK
from tests.soak.evidence import effects_of, letters_of, missing, open_rows, rows_due_after
from tests.soak.names import JUMP_SECONDS
from tests.soak.world import World

_LOOK_SECONDS: Final = 1.0
#: Longer than the pause before a retry, a lease and Redis's visibility timeout together with the 5
#: seconds after which it is looked at: what has not moved for so long is lost.
_STILL_SECONDS: Final = 60.0
#: Nothing but a clock that was ahead puts a row off for so long here.
_PUT_OFF_SECONDS: Final = JUMP_SECONDS / 2


def come_to_rest(world: World, most_seconds: float) -> str:
    """Return when nothing is left to be done; tell what was left if it was not.

    What clocks that were ahead have put off is due when the others have come there: once nothing
    else is left, they are all put there.
    """
    put_off = 0
    ends_at = SYSTEM_CLOCK.monotonic() + most_seconds
    seen, seen_at = (-1, -1), SYSTEM_CLOCK.monotonic()
    while True:
        left = _left(world)
        now = SYSTEM_CLOCK.monotonic()
        if left != seen:
            seen, seen_at = left, now
        if left == (0, 0):
            late = f"; {put_off} rows waited until clocks were where jumps had put them off to"
            return f"everything has come to an end{late if put_off else ''}"
        if left[0] and not put_off and (due_late := _put_off(world)) == left[0]:
            put_off = due_late
            world.put_clocks_ahead()
        if now > ends_at or (now - seen_at > _STILL_SECONDS and left[0] == 0) or is_asked_again():
            return f"{left[0]} rows are open, {left[1]} messages have no end"
        SYSTEM_CLOCK.sleep(_LOOK_SECONDS)


def _put_off(world: World) -> int:
    database = world.installation.database()
    try:
        return rows_due_after(database, SYSTEM_CLOCK.now() + _PUT_OFF_SECONDS)
    finally:
        database.close()


def _left(world: World) -> tuple[int, int]:
    database = world.installation.database()
    try:
        effects, _ = effects_of(database)
        lost = missing(world.sendings(), effects, letters_of(database))
        return open_rows(database), len(lost)
    finally:
        database.close()
