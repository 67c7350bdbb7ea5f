import pytest

from tests.support.installation import Installation
from tests.support.waiting import eventually


@pytest.mark.promise("an expired message is not handled")
def test_an_expired_message_is_not_handled(installation: Installation) -> None:
    sender = installation.communicator()
    installation._services.add("sleeper")
    expired = sender.send_to_service("sleeper", "work", {"n": 1}, expires_in=0.01)
    fresh = sender.send_to_service("sleeper", "work", {"n": 2}, expires_in=600)

    installation.start_worker("sleeper", concurrency=1)
    journal = installation.journal("sleeper")
    eventually(lambda: journal.lines(event="handled", id=fresh))
    assert journal.lines(event="begun", id=expired) == []


@pytest.mark.promise("a delay is kept to 0.5 s")
def test_a_delay_of_2_seconds_is_kept_to_half_a_second(shared: Installation) -> None:
    asker = shared.communicator()
    message_id = asker.request(
        "probe",
        "send",
        {"target": "probe", "type": "work", "data": {}, "options": {"delay": 2}},
        timeout=10,
    )
    journal = shared.journal("probe")
    begun = eventually(lambda: journal.lines(event="begun", id=message_id))[0]
    sent = journal.lines(event="sent")[-1]
    assert 1.95 <= begun["at"] - sent["at"] <= 2.5
