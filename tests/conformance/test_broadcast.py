from collections import Counter

import pytest

from messaging.patterns import matches
from tests.support.installation import Installation
from tests.support.waiting import eventually

SERVICES = ("one", "two", "three")


@pytest.mark.promise("a broadcast is handled once by each subscribed service")
def test_a_broadcast_is_handled_once_by_each_of_3_services_with_2_workers_each(
    installation: Installation,
) -> None:
    for service in SERVICES:
        for _ in range(2):
            installation.start_worker(service, patterns=("document.*",), wait=False)
    for service in SERVICES:
        installation.wait_ready(service, 2)
    sender = installation.communicator()

    ids = [sender.broadcast("document.created", {"n": n}) for n in range(20)]

    for service in SERVICES:
        journal = installation.journal(service)
        eventually(lambda journal=journal: len(journal.lines(event="handled")) >= 20)
    # Anything handled twice would have been handled by now: a marker comes last in every queue.
    for service in SERVICES:
        sender.send_to_service(service, "echo", {})
        assert sender.request(service, "echo", "done", timeout=10, priority="LOW") == "done"
        counts = Counter(line["id"] for line in installation.journal(service).lines(event="begun"))
        assert counts == Counter(ids)


@pytest.mark.parametrize(
    ("message_type", "is_subscribed"),
    [
        ("topic.a.end", True),
        ("topic.end", False),
        ("topic.a.b.end", False),
        ("document", True),
        ("document.created", True),
        ("document.created.v2", True),
        ("documents", False),
        ("a.document", False),
    ],
)
@pytest.mark.promise("`*` and `#` match as AMQP topics do")
def test_patterns_match_as_amqp_topics_do(
    shared: Installation, message_type: str, is_subscribed: bool
) -> None:
    sender = shared.communicator()
    message_id = sender.broadcast(message_type, {})
    # The same priority, so the marker is behind the broadcast.
    marker = sender.send_to_service("probe", "work", {})
    journal = shared.journal("probe")
    eventually(lambda: journal.lines(event="handled", id=marker))
    if is_subscribed:
        eventually(lambda: journal.lines(event="handled", id=message_id))
    assert bool(journal.lines(event="begun", id=message_id)) is is_subscribed
    assert any(matches(p, message_type) for p in ("topic.*.end", "document.#")) is is_subscribed


@pytest.mark.promise("…its copy of a broadcast as well, though other services have handled theirs")
def test_a_killed_workers_copy_of_a_broadcast_comes_again_though_others_have_handled_theirs(
    installation: Installation,
) -> None:
    killed = installation.start_worker("slow", patterns=("document.*",), PROBE_SLOWLY="60")
    installation.start_worker("quick", patterns=("document.*",))
    message_id = installation.communicator().broadcast("document.created", {})
    slow, quick = installation.journal("slow"), installation.journal("quick")
    eventually(lambda: slow.lines(event="begun", id=message_id))
    eventually(lambda: quick.lines(event="handled", id=message_id))
    killed.kill()
    installation.start_worker("slow", patterns=("document.*",))
    within = installation.features.recovery_seconds + 10
    eventually(lambda: slow.lines(event="handled", id=message_id), within)
    assert len(quick.lines(event="begun", id=message_id)) == 1
