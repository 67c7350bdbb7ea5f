import signal
from collections import Counter

import pytest

from messaging.clock import SYSTEM_CLOCK
from tests.support.installation import Installation
from tests.support.waiting import eventually


@pytest.mark.promise("TERM finishes or gives back what is in hand; a second Ctrl-C ends at once")
def test_term_finishes_what_is_in_hand_and_gives_back_the_rest(
    installation: Installation,
) -> None:
    worker = installation.start_worker("stopped", concurrency=2)
    journal = installation.journal("stopped")
    sender = installation.communicator()
    ids = [sender.send_to_service("stopped", "work", {"n": n, "seconds": 0.5}) for n in range(6)]
    eventually(lambda: len(journal.lines(event="begun")) >= 2)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    begun = Counter(line["id"] for line in journal.lines(event="begun"))
    handled = Counter(line["id"] for line in journal.lines(event="handled"))
    assert begun == handled
    assert len(handled) < 6

    installation.start_worker("stopped", concurrency=2)
    eventually(lambda: len(journal.lines(event="handled")) >= 6)
    assert Counter(line["id"] for line in journal.lines(event="handled")) == Counter(ids)


@pytest.mark.promise("TERM finishes or gives back what is in hand; a second Ctrl-C ends at once")
def test_a_second_ctrl_c_ends_at_once_and_gives_everything_back(
    installation: Installation,
) -> None:
    worker = installation.start_worker("impatient", concurrency=1)
    journal = installation.journal("impatient")
    installation.communicator().send_to_service("impatient", "work", {"seconds": 60})
    eventually(lambda: journal.lines(event="begun"))
    worker.signal(signal.SIGINT)
    log = worker.log
    eventually(lambda: "Warm shutdown" in log.read_text())
    assert worker.is_running()
    began = SYSTEM_CLOCK.monotonic()
    worker.signal(signal.SIGINT)
    worker.wait(5)
    assert SYSTEM_CLOCK.monotonic() - began < 2

    other = installation.start_worker("impatient", concurrency=1)
    eventually(lambda: journal.lines(event="begun", pid=other.pid), 5)
