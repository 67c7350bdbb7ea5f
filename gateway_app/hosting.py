"""The gateway in a Django project of somebody else's: what that project need not set.

The settings of this repository say all of it; see `gateway_app.settings` for what each is.
"""

from pathlib import Path
from typing import Any, Final

#: What holds where a project has no such setting.
DEFAULTS: Final[dict[str, Any]] = {
    "GATEWAY_PORT": 8000,
    "FLOWER_PORT": 5555,
    "FLOWER_URL": "",
    "FLOWER_BASIC_AUTH": "",
    # Which variables a project reads is not known here, so none is called misspelled.
    "ENVIRONMENT_NAMES": frozenset(),
    "KNOWN_ENVIRONMENT": frozenset(),
}


def complete(settings: Any) -> None:
    """Give Django's settings what the gateway reads and the project has not set. Idempotent."""
    root = Path(getattr(settings, "BASE_DIR", Path.cwd()))
    derived = {
        "BASE_DIR": root,
        "VAR_DIR": root / "var",
        "IS_DEVELOPMENT": settings.DEBUG,
    }
    for name, value in {**DEFAULTS, **derived}.items():
        if not hasattr(settings, name):
            setattr(settings, name, value)
