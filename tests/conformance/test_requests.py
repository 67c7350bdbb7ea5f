import asyncio
import threading

import pytest

from messaging import RemoteError, RequestTimeout, ServiceNotFound
from messaging.clock import SYSTEM_CLOCK
from tests.support.installation import Installation
from tests.support.waiting import eventually


@pytest.mark.promise("a request is answered, by its handler or with an error")
def test_a_handler_answers_a_request(shared: Installation) -> None:
    data = {"userId": 123, "text": "Grüße 🎈", "nested": [1, None, {"x": 1.5}]}
    assert shared.communicator().request("probe", "echo", data, timeout=10) == data


@pytest.mark.promise("a request is answered, by its handler or with an error")
def test_an_async_handler_answers_and_request_async_waits_without_blocking(
    shared: Installation,
) -> None:
    asker = shared.communicator()

    async def ask_many() -> list[object]:
        asks = [asker.request_async("probe", "echo.async", n, timeout=10) for n in range(20)]
        return list(await asyncio.gather(*asks))

    answers = asyncio.run(ask_many())
    assert answers == [{"data": n, "type": "echo.async"} for n in range(20)]


@pytest.mark.promise("a request is answered, by its handler or with an error")
def test_an_explicit_answer_is_given_once(shared: Installation) -> None:
    assert shared.communicator().request("probe", "answer.early", 1, timeout=10) == {"early": 1}


@pytest.mark.promise("a request is answered, by its handler or with an error")
def test_a_failing_handler_and_an_unwritable_answer_are_remote_errors(
    shared: Installation,
) -> None:
    asker = shared.communicator()
    with pytest.raises(RemoteError, match="ValueError: oops"):
        asker.request("probe", "fail", "oops", timeout=10)
    with pytest.raises(RemoteError, match="EncodeError"):
        asker.request("probe", "unwritable", None, timeout=10)
    with pytest.raises(RemoteError, match="no handler"):
        asker.request("probe", "never.heard.of", None, timeout=10)


@pytest.mark.promise("a request is answered, by its handler or with an error")
def test_a_refusal_and_data_that_does_not_validate_are_told_with_a_code(
    shared: Installation,
) -> None:
    asker = shared.communicator()
    assert asker.request("probe", "order", {"count": 5}, timeout=10) == {"count": 5, "note": ""}
    with pytest.raises(RemoteError) as invalid:
        asker.request("probe", "order", {"count": "many", "note": 1}, timeout=10)
    assert (invalid.value.code, invalid.value.message.splitlines()) == (
        "invalid",
        [
            "count: Input should be a valid integer, unable to parse string as an integer",
            "note: Input should be a valid string",
        ],
    )
    with pytest.raises(RemoteError) as rejected:
        asker.request("probe", "reject", {}, timeout=10)
    with pytest.raises(RemoteError) as unknown:
        asker.request("probe", "never.heard.of", {}, timeout=10)
    assert (rejected.value.code, unknown.value.code) == ("rejected", "no_handler")


@pytest.mark.promise("a request to a service that never started fails at once")
def test_a_service_that_never_started_is_not_found_at_once(shared: Installation) -> None:
    asker = shared.communicator()
    asker.request("probe", "echo", 1, timeout=10)
    # A message for it creates its queue, and changes nothing: nobody is there to answer.
    shared._services.add("nobody")
    asker.send_to_service("nobody", "work", {})
    began = SYSTEM_CLOCK.monotonic()
    with pytest.raises(ServiceNotFound, match="nobody"):
        asker.request("nobody", "x", timeout=30)
    assert SYSTEM_CLOCK.monotonic() - began < 1


@pytest.mark.promise("a request is answered, by its handler or with an error")
def test_no_answer_in_time_is_a_timeout_that_says_the_outcome_is_unknown(
    shared: Installation,
) -> None:
    with pytest.raises(RequestTimeout, match="unknown"):
        shared.communicator().request("probe", "work", {"seconds": 1}, timeout=0.2)


@pytest.mark.promise("a request is answered, by its handler or with an error")
def test_threads_share_one_communicator_and_get_their_own_answers(shared: Installation) -> None:
    asker = shared.communicator()
    wrong: list[object] = []

    def ask(start: int) -> None:
        for n in range(start, start + 25):
            if asker.request("probe", "echo", n, timeout=15) != n:
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(1000 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


@pytest.mark.promise("correlation, causation and headers are carried on")
def test_correlation_and_causation_are_carried_on_and_headers_arrive(
    shared: Installation,
) -> None:
    sender = shared.communicator()
    first = sender.send_to_service(
        "probe",
        "send",
        {"target": "probe", "type": "work", "options": {"headers": {"tenant": "acme"}}},
        correlation_id="order-17",
    )
    journal = shared.journal("probe")
    line = eventually(
        lambda: [x for x in journal.lines(event="begun") if x["causation_id"] == first]
    )[0]
    assert line["correlation_id"] == "order-17"
    assert line["headers"] == {"tenant": "acme"}


@pytest.mark.promise("a request is answered, by its handler or with an error")
def test_a_handler_may_ask_another_service_and_waits_no_longer_than_its_own_caller(
    shared: Installation,
) -> None:
    asker = shared.communicator()
    question = {"target": "probe", "type": "echo", "data": 5}
    assert asker.request("probe", "ask", question, timeout=10) == 5
    slow = {"target": "probe", "type": "work", "data": {"seconds": 2}}
    began = SYSTEM_CLOCK.monotonic()
    with pytest.raises((RemoteError, RequestTimeout)):
        asker.request("probe", "ask", slow, timeout=0.5)
    assert SYSTEM_CLOCK.monotonic() - began < 1.5
