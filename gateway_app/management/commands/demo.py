"""``manage.py demo``: the tour."""

import logging
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway_app.process import stopped_by_signals
from gateway_app.stack import StackError
from gateway_app.tour.program import play_tour
from gateway_app.tour.screen import Screen
from messaging import MessagingError

INTERRUPTED = 130


class Command(BaseCommand):
    """Starts a private copy of everything, shows what it does, and stops it again."""

    help = "Show what the system does, step by step, on a private copy of it."
    # The tour's own processes check their settings; those of this one are not used.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 0 when every step saw what it expected, else 1; 130 on Ctrl-C."""
        try:
            # That the broker is gone under its feet is a step of the tour, which tells it itself.
            logging.getLogger("messaging").setLevel(logging.ERROR)
            with stopped_by_signals():
                is_good = play_tour(Screen(self.stdout, self.style))
        except (StackError, MessagingError) as exc:
            raise CommandError(str(exc)) from exc
        except KeyboardInterrupt:
            self.stdout.write("\nStopped, everything is cleaned up.")
            sys.exit(INTERRUPTED)
        if not is_good:
            sys.exit(1)
