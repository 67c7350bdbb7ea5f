"""What a management command that plays steps does: the tour's, and those of other projects."""

import logging
import sys
from typing import Any, Final

from django.core.management.base import CommandError

from gateway_app.process import stopped_by_signals
from gateway_app.stack import StackError
from gateway_app.tour.playing import Play, play
from gateway_app.tour.screen import Screen
from messaging import MessagingError
from messaging.commands import OneLineArguments

INTERRUPTED: Final = 130


class PlayCommand(OneLineArguments):
    """Starts a private copy of everything, plays steps on it, and stops it again."""

    # The processes of the play check their settings; those of this one are not used.
    requires_system_checks = ()

    def what_is_played(self) -> Play[Any]:
        """Return the steps and what they are played with."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 0 when every step saw what it expected, else 1; 130 on Ctrl-C."""
        try:
            # That the broker is gone under its feet is a step, which tells it itself.
            logging.getLogger("messaging").setLevel(logging.ERROR)
            with stopped_by_signals():
                is_good = play(self.what_is_played(), Screen(self.stdout, self.style))
        except (StackError, MessagingError) as exc:
            raise CommandError(str(exc)) from exc
        except KeyboardInterrupt:
            self.stdout.write("\nStopped, everything is cleaned up.")
            sys.exit(INTERRUPTED)
        if not is_good:
            sys.exit(1)
