"""The Django app of user-service."""

from django.apps import AppConfig


class UserServiceConfig(AppConfig):
    """Two tables: users and their activity."""

    name = "services.user"
    verbose_name = "User service"
