"""The Django app of orders."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """Its tables."""

    name = "shop.orders"
