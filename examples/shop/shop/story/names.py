"""What the story and its warehouse have to agree on."""

from typing import Final

#: In VAR_DIR; while it is there the warehouse waits in the middle of reserving.
HOLD_FILE: Final = "hold"
#: In VAR_DIR; it waits.
HELD_FILE: Final = "held"
