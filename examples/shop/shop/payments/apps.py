"""The Django app of payments."""

from django.apps import AppConfig


class PaymentsConfig(AppConfig):
    """Its tables."""

    name = "shop.payments"
