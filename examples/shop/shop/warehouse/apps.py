"""The Django app of warehouse."""

from django.apps import AppConfig


class WarehouseConfig(AppConfig):
    """Its tables."""

    name = "shop.warehouse"
