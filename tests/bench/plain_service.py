"""A service with an empty handler that notes how fast BENCH_COUNT messages were handled."""

import os
from pathlib import Path
from time import perf_counter
from typing import Any

import django

django.setup()

from messaging import ServiceCommunicator  # noqa: E402
from messaging.events import message_handled  # noqa: E402

communicator = ServiceCommunicator("counter", version="1")
count = int(os.environ["BENCH_COUNT"])
instants: list[float] = []


@communicator.on_message("count.plain")
def count_plain(_data: Any) -> None:
    """Do nothing."""


def note(**_: Any) -> None:
    instants.append(perf_counter())
    if len(instants) == count:
        done = Path(os.environ["BENCH_DONE"])
        part = done.with_suffix(".part")
        part.write_text(str(count / (instants[-1] - instants[0])))
        part.rename(done)


message_handled.connect(note, weak=False)
app = communicator.celery_app
