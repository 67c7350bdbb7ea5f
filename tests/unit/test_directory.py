"""What `discover` gives while the gateway answers, and while it does not."""

from typing import Any

import pytest

from messaging import BrokerUnavailable, RemoteError, RequestTimeout, ServiceNotFound
from messaging.directory import REMEMBERED, Directory
from messaging.envelope import utc_now
from tests.unit.transport.conftest import ManualClock

TIMEOUT = RequestTimeout("api-gateway", "service.discover", 5)


class Gateway:
    """Answers with how often it has been asked, or with an error."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.error: Exception | None = None

    def ask(self, service: str, timeout: float) -> dict[str, Any]:
        self.asked.append((service, timeout))
        if self.error is not None:
            raise self.error
        return {"name": service, "number": len(self.asked), "instances": [{"id": "a"}]}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def directory(gateway: Gateway, clock: ManualClock) -> Directory:
    return Directory(gateway.ask, 5.0, clock)


def number(directory: Directory, service: str = "user", **options: Any) -> int:
    return int(directory.find(service, 30.0, **options)["number"])


def test_a_young_answer_is_given_again_and_an_old_one_is_not(
    directory: Directory, gateway: Gateway, clock: ManualClock
) -> None:
    before = utc_now().isoformat()
    first = directory.find("user", 30.0)
    assert before <= first["as_of"] <= utc_now().isoformat()
    first["instances"].clear()  # the caller's own
    clock.advance(4)
    again = directory.find("user", 30.0)
    assert (again["number"], again["as_of"], len(again["instances"])) == (1, first["as_of"], 1)
    assert number(directory, fresh=True) == 2
    clock.advance(5)
    assert number(directory) == 3
    # Where something is known, nobody waits longer for better.
    assert gateway.asked == [("user", 30.0), ("user", 30.0), ("user", 5.0)]


@pytest.mark.parametrize(
    "error",
    [
        TIMEOUT,
        BrokerUnavailable("away"),
        ServiceNotFound("api-gateway"),
        RemoteError("OperationalError", "database is locked"),
    ],
)
def test_without_the_gateway_the_last_answer_is_given_and_waited_for_once_in_a_while(
    directory: Directory, gateway: Gateway, clock: ManualClock, error: Exception
) -> None:
    as_of = directory.find("user", 30.0)["as_of"]
    directory.find("document", 30.0)
    gateway.error = error
    clock.advance(3600)
    assert directory.find("user", 30.0)["as_of"] == as_of
    assert number(directory) == 1
    assert number(directory, "document") == 2
    assert len(gateway.asked) == 3  # the failure was enough for all
    clock.advance(5)
    assert number(directory) == 1
    assert len(gateway.asked) == 4

    gateway.error = None
    clock.advance(5)
    assert number(directory) == 5
    assert number(directory, "document") == 6  # nothing keeps it from asking again


def test_while_one_finds_out_whether_the_gateway_is_back_the_others_do_not_wait(
    gateway: Gateway, clock: ManualClock
) -> None:
    inner: list[int] = []

    def ask(service: str, timeout: float) -> dict[str, Any]:
        if gateway.error is not None and len(gateway.asked) == 2:
            inner.append(number(own))  # somebody else, meanwhile
        return gateway.ask(service, timeout)

    own = Directory(ask, 5.0, clock)
    number(own)
    gateway.error = TIMEOUT
    clock.advance(6)
    number(own)
    clock.advance(6)
    number(own)
    assert inner == [1]
    assert len(gateway.asked) == 3


def test_with_nothing_known_or_a_fresh_answer_wanted_the_error_comes_through(
    directory: Directory, gateway: Gateway
) -> None:
    gateway.error = TIMEOUT
    with pytest.raises(RequestTimeout):
        directory.find("user", 30.0)
    gateway.error = None
    directory.find("user", 30.0)
    gateway.error = TIMEOUT
    with pytest.raises(RequestTimeout):
        directory.find("user", 30.0, fresh=True)
    assert number(directory) == 2


@pytest.mark.parametrize(
    "error",
    [RemoteError("ServiceNotFound", "none"), RemoteError("Unknown", "none", code="not_found")],
)
def test_a_service_that_the_gateway_does_not_know_any_more_is_forgotten(
    directory: Directory, gateway: Gateway, clock: ManualClock, error: Exception
) -> None:
    directory.find("user", 30.0)
    gateway.error = error
    clock.advance(6)
    with pytest.raises(RemoteError):
        directory.find("user", 30.0)
    gateway.error = TIMEOUT
    with pytest.raises(RequestTimeout):
        directory.find("user", 30.0)


def test_only_so_many_are_remembered(directory: Directory, gateway: Gateway) -> None:
    for index in range(REMEMBERED + 1):
        directory.find(f"s{index}", 30.0)
        directory.find("s0", 30.0)  # still asked for
    assert len(directory._known) == REMEMBERED
    assert directory.find("s0", 30.0)["number"] == 1
    assert directory.find("s1", 30.0)["number"] > REMEMBERED
