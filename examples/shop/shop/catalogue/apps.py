"""The Django app of catalogue."""

from django.apps import AppConfig


class CatalogueConfig(AppConfig):
    """Its tables."""

    name = "shop.catalogue"
