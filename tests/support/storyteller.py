"""A service for the stories of `tests.support.stories`; run by `celery … worker`.

STORY_SERVICE names it, STORY_JOURNAL is the file in which it notes what happens.
"""

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django

django.setup()

from celery.signals import worker_ready  # noqa: E402

from messaging.clock import SYSTEM_CLOCK  # noqa: E402
from messaging.testing.facts import Fact, recording  # noqa: E402
from tests.support.journal import Journal  # noqa: E402
from tests.support.stories import service  # noqa: E402

journal = Journal(Path(os.environ["STORY_JOURNAL"]))


def note(fact: Fact) -> None:
    journal.write(event="fact", **fact.to_json())


def die_once() -> None:
    """End as by `kill -9`; the process that is started next goes on."""
    died = journal.path.with_suffix(".died")
    if not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@worker_ready.connect
def on_ready(**_: Any) -> None:
    journal.write(event="ready")


#: Open as long as the process lives.
for_life = ExitStack()
for_life.enter_context(recording(note, SYSTEM_CLOCK.now))
communicator = service(os.environ["STORY_SERVICE"], die_once)
app = communicator.celery_app
