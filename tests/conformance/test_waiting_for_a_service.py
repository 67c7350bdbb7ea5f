import pytest

from tests.support.installation import Installation
from tests.support.waiting import eventually


@pytest.mark.promise("a service never started gets its commands when it starts")
def test_a_service_that_never_started_gets_its_messages_when_it_does(
    installation: Installation,
) -> None:
    sender = installation.communicator()
    ids = [sender.send_to_service("late", "work", {"n": n}) for n in range(5)]
    sender.close()

    installation.start_worker("late")
    journal = installation.journal("late")
    eventually(lambda: len(journal.lines(event="handled")) == 5)
    assert sorted(line["id"] for line in journal.lines(event="handled")) == sorted(ids)
