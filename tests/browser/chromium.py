"""The machine's own Chromium."""

import shutil
from typing import Final

#: What it is called, by distribution.
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Root has no sandbox of Chromium's; the pages are our own.
ARGUMENTS: Final = ["--no-sandbox", "--disable-dev-shm-usage"]


def executable() -> str | None:
    """Return its path; None: there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)
