"""``manage.py play``: the story, as ``make shop`` starts it."""

from gateway_app.tour.command import PlayCommand
from gateway_app.tour.playing import Play
from shop.story.looks import ShopLooks
from shop.story.program import story


class Command(PlayCommand):
    """Plays the story."""

    help = "Show what the shop does, step by step, on a private copy of it."

    def what_is_played(self) -> Play[ShopLooks]:
        """Return the story."""
        return story()
