"""The Django app of the gateway."""

from typing import Final

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from gateway_app import hosting
from messaging.errors import ConfigurationError
from messaging.libraries import need

#: Without them there are no tables of messages, no logins and no pages.
NEEDED: Final = (
    "messaging",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
)
#: Of the extra `gateway`, what its pages and its commands import.
LIBRARIES: Final = ("h11", "httpcore", "httpx", "jsonschema", "prometheus_client", "starlette")


class GatewayConfig(AppConfig):
    """Registry, health records and dead letters."""

    name = "gateway_app"
    verbose_name = "Gateway"
    default_auto_field = "django.db.models.BigAutoField"

    def import_models(self) -> None:
        """Import the models, which lean on those of other apps.

        Raises:
            ImproperlyConfigured: one of `NEEDED`, or a library, is not installed.
        """
        missing = [name for name in NEEDED if not apps.is_installed(name)]
        if missing:
            raise ImproperlyConfigured(
                f"INSTALLED_APPS: expected what gateway_app needs, and {', '.join(missing)} is "
                "not there; add it (docs/adoption.md)"
            )
        try:
            need("gateway", *LIBRARIES, name="INSTALLED_APPS with gateway_app")
        except ConfigurationError as exc:
            raise ImproperlyConfigured(str(exc)) from exc
        super().import_models()

    def ready(self) -> None:
        """Register the system checks, and complete the settings of a project that hosts this."""
        hosting.complete(settings)
        from gateway_app import checks  # noqa: F401 - registers itself
