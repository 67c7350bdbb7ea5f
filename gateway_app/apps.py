"""The Django app of the gateway."""

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """Registry, health records and dead letters."""

    name = "gateway_app"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Register the system checks."""
        from gateway_app import checks  # noqa: F401 - registers itself
