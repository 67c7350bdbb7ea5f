"""When nearly everybody is silent at once: rather the gateway's own fault than everybody's."""

from typing import Final

#: When so large a share is silent, the gateway takes it for its own fault...
BLAME_SHARE: Final = 0.85
#: ...but not when there are fewer: one or two of them are a large share already.
BLAME_LEAST: Final = 4


def is_own_fault(silent: int, watched: int) -> bool:
    """Return whether so many are silent at once that the gateway must be cut off.

    Args:
        silent: of those that are watched.
        watched: all that should be heard of.
    """
    return silent >= max(BLAME_LEAST, BLAME_SHARE * watched)
