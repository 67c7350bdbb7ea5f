"""Libraries that only some programs need: those of an extra, looked for before they are used."""

from importlib.util import find_spec
from typing import Final

from messaging.errors import ConfigurationError

#: What `pip` knows this package as.
DISTRIBUTION: Final = "django-service-bus"


def need(extra: str, *modules: str, name: str) -> None:
    """Make sure that the modules of an extra can be imported; none is imported here.

    Args:
        extra: of the distribution, which has them.
        modules: as they are imported, each without a dot.
        name: of the setting that asks for them, for the error.

    Raises:
        ConfigurationError: one is not installed. Nothing was sent; safe to try again with it.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigurationError(
            f"{name}: expected what it needs to be installed, and {', '.join(missing)} is not; "
            f"pip install '{DISTRIBUTION}[{extra}]'"
        )
