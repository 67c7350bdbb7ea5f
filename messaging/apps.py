"""The reusable Django app, and the configuration that Django's settings hold."""

import functools
from typing import Any, Final

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.signals import setting_changed

from messaging.config import MessagingConfig
from messaging.errors import ConfigurationError

_EXAMPLE: Final = '{"broker_url": "sqlite:////folder/broker.sqlite3"}'


class MessagingAppConfig(AppConfig):
    """Add ``"messaging"`` to INSTALLED_APPS: outbox table and system checks."""

    name = "messaging"
    verbose_name = "Message bus"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from messaging import checks  # noqa: F401 - registers itself


@functools.cache
def configured() -> MessagingConfig:
    """Return ``settings.MESSAGING`` as a validated object, built once.

    Raises:
        ConfigurationError: there is no such setting, it is wrong, or the app is not installed.
    """
    mapping = getattr(settings, "MESSAGING", None)
    if not isinstance(mapping, dict):
        raise ConfigurationError(
            f"settings.MESSAGING: expected a dict such as {_EXAMPLE}, got {mapping!r}"
        )
    if apps.apps_ready and not apps.is_installed("messaging"):
        raise ConfigurationError(
            "settings.INSTALLED_APPS: expected 'messaging', whose tables keep messages, "
            "and it is not there; add it, and run manage.py migrate"
        )
    return MessagingConfig.from_mapping(mapping)


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "MESSAGING":
        configured.cache_clear()


setting_changed.connect(_forget, dispatch_uid="messaging.configured")
