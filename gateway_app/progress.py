"""A progress bar, where somebody looks."""

from types import TracebackType
from typing import Final, TextIO

from messaging.clock import SYSTEM_CLOCK

_WIDTH: Final = 30
#: Time between two drawings.
_DRAW_SECONDS: Final = 0.1


class Progress:
    """Draws a line on a terminal and nothing anywhere else. The line stays when it ends."""

    def __init__(self, total: int, out: TextIO) -> None:
        self._total = total
        self._out = out
        self._done = 0
        self._drawn_at = 0.0
        self._is_shown = out.isatty() and total > 0

    def step(self) -> None:
        """Note that one more is done."""
        self._done += 1
        now = SYSTEM_CLOCK.monotonic()
        if now - self._drawn_at >= _DRAW_SECONDS:
            self._drawn_at = now
            self._draw()

    def __enter__(self) -> "Progress":
        self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._draw()
        if self._is_shown:
            self._out.write("\n")

    def _draw(self) -> None:
        if self._is_shown:
            filled = _WIDTH * self._done // self._total
            bar = "█" * filled + "░" * (_WIDTH - filled)
            self._out.write(f"\r{bar} {self._done}/{self._total}")
            self._out.flush()
