"""What the tour and its service have to agree on."""

from typing import Final

SERVICE: Final = "tour-service"
#: Leaves one effect.
COUNT: Final = "tour.count"
#: Fails as long as the fault is there.
FRAGILE: Final = "tour.fragile"
#: A broadcast.
ALERT: Final = "system.alert"
#: In VAR_DIR; there while something is broken.
FAULT_FILE: Final = "fault"
