"""``manage.py demo``: the tour."""

from gateway_app.tour.command import PlayCommand
from gateway_app.tour.playing import Play
from gateway_app.tour.program import tour
from gateway_app.tour.records import Records


class Command(PlayCommand):
    """Plays the tour."""

    help = "Show what the system does, step by step, on a private copy of it."

    def what_is_played(self) -> Play[Records]:
        """Return the tour."""
        return tour()
