"""What `manage.py check` says about the message bus."""

from typing import Any

from django.core.checks import CheckMessage, Error, register

from messaging.apps import configured
from messaging.brokers import profile_for
from messaging.errors import ConfigurationError


@register("messaging")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Report a MESSAGING setting that is missing, unknown or wrong (messaging.E001)."""
    try:
        profile_for(configured().broker_url)
    except ConfigurationError as exc:
        return [Error(str(exc), id="messaging.E001")]
    return []
