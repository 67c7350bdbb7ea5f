import pytest

from messaging.deadletter import DeadLetter
from tests.conformance.test_bad_messages import parked
from tests.support.installation import Installation
from tests.support.waiting import eventually


def letters_for(installation: Installation, message_id: str) -> list[DeadLetter]:
    letters: list[DeadLetter] = []

    def found() -> list[DeadLetter]:
        letters.extend(parked(installation))
        return [letter for letter in letters if letter.message_id == message_id]

    return eventually(found, 20)


@pytest.mark.promise("a failing message is retried in rounds, then parked; a rejected one at once")
def test_a_rejected_message_is_parked_at_once(shared: Installation) -> None:
    message_id = shared.communicator().send_to_service("probe", "reject", {"x": 1})
    (letter,) = letters_for(shared, message_id)
    assert (letter.reason, letter.error, letter.attempts) == (
        "rejected",
        "this will never do",
        1,
    )
    assert letter.envelope is not None
    assert letter.envelope["data"] == {"x": 1}


@pytest.mark.promise("a failing message is retried in rounds, then parked; a rejected one at once")
def test_a_retry_with_a_delay_comes_back_as_the_next_attempt(shared: Installation) -> None:
    message_id = shared.communicator().send_to_service("probe", "again", {})
    journal = shared.journal("probe")
    eventually(lambda: len(journal.lines(event="attempt", id=message_id)) == 2)
    attempts = [line["attempt"] for line in journal.lines(event="attempt", id=message_id)]
    assert attempts == [1, 2]


@pytest.mark.promise("a failing message is retried in rounds, then parked; a rejected one at once")
def test_a_failing_message_is_tried_in_rounds_until_it_succeeds(shared: Installation) -> None:
    message_id = shared.communicator().send_to_service("probe", "fail.twice", {})
    journal = shared.journal("probe")
    eventually(lambda: len(journal.lines(event="attempt", id=message_id)) == 3, 20)


@pytest.mark.promise("a failing message is retried in rounds, then parked; a rejected one at once")
def test_a_broadcast_that_failed_is_tried_again_by_that_service_alone(
    installation: Installation,
) -> None:
    for service in ("first", "second"):
        installation.start_worker(service, wait=False)
    for service in ("first", "second"):
        installation.wait_ready(service, 1)
    message_id = installation.communicator().broadcast("again", {})
    for service in ("first", "second"):
        journal = installation.journal(service)
        eventually(lambda journal=journal: len(journal.lines(event="attempt", id=message_id)) == 2)
    asker = installation.communicator("asker")
    for service in ("first", "second"):
        asker.request(service, "echo", 1, timeout=10, priority="LOW")
        lines = installation.journal(service).lines(event="attempt", id=message_id)
        assert [line["attempt"] for line in lines] == [1, 2]
