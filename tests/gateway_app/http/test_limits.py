from contextlib import ExitStack

import pytest

from gateway_app.http.limits import REMEMBERED, Limits
from gateway_app.http.matching import Target
from gateway_app.http.problem import Problem
from messaging import MessagingConfig

ROUTE = Target("GET", "/api/x", "s", "m")
CONFIG = MessagingConfig(
    broker_url="sqlite:////x", http_concurrency=3, http_client_concurrency=2, http_rate=2.0
)


class Time:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def refusal(limits: Limits, client: str, route: Target = ROUTE) -> tuple[int, str]:
    with pytest.raises(Problem) as refused, limits.admitted(client, route):
        pass
    return refused.value.status, refused.value.headers["Retry-After"]


def test_a_client_has_its_rate_and_gets_on_again_when_told() -> None:
    time = Time()
    limits = Limits(CONFIG, time)
    for _ in range(2):
        with limits.admitted("a", ROUTE):
            pass
    assert refusal(limits, "a") == (429, "1")
    with limits.admitted("b", ROUTE):  # everybody has his own
        pass
    time.seconds = 1.0
    with limits.admitted("a", ROUTE):
        pass


def test_a_rate_below_one_a_second_lets_one_through_at_a_time() -> None:
    limits = Limits(CONFIG, Time())
    slow = Target("GET", "/api/slow", "s", "m", rate=0.1)
    with limits.admitted("a", slow):
        pass
    assert refusal(limits, "a", slow) == (429, "10")


def test_requests_at_one_time_are_limited_by_client_route_and_process() -> None:
    limits = Limits(CONFIG, Time())
    alone = Target("GET", "/api/alone", "s", "m", concurrency=1, rate=100)
    other = Target("GET", "/api/other", "s", "m", rate=100)
    with ExitStack() as open_requests:
        open_requests.enter_context(limits.admitted("a", alone))
        assert refusal(limits, "b", alone)[0] == 503
        open_requests.enter_context(limits.admitted("a", other))
        assert refusal(limits, "a", other)[0] == 429
        open_requests.enter_context(limits.admitted("b", other))
        assert refusal(limits, "c", other)[0] == 503
    with limits.admitted("a", alone):
        assert limits.in_flight == 1


def test_memory_does_not_grow_with_the_clients() -> None:
    limits = Limits(CONFIG, Time())
    for number in range(REMEMBERED + 10):
        with limits.admitted(f"client {number}", ROUTE):
            pass
    assert len(limits._buckets) == REMEMBERED
    assert not limits._clients
    assert not limits._routes
