"""The Django app of the story, for its command."""

from django.apps import AppConfig


class StoryConfig(AppConfig):
    """No tables."""

    name = "shop.story"
