import pytest

from gateway_app.http.breaker import BreakerState
from gateway_app.http.routing import Instance, ServiceEntry
from gateway_app.http.upstreams import NoneLeft, Upstreams
from messaging import MessagingConfig

CONFIG = MessagingConfig(broker_url="sqlite:////x", breaker_failures=2, breaker_open_seconds=10.0)


class Time:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def service(*instances: tuple[str, str]) -> ServiceEntry:
    return ServiceEntry(
        "s", instances=tuple(Instance(name, "h", 80, state) for name, state in instances)
    )


THREE = service(("a", "UP"), ("b", "UP"), ("c", "UP"))


def test_the_one_with_the_least_in_hand_is_next_and_of_equals_the_one_that_waited() -> None:
    upstreams = Upstreams(CONFIG, Time())
    assert [upstreams.choose(THREE, ())[0] for _ in range(6)] == list("abcabc")
    _, slow = upstreams.choose(THREE, ())
    with upstreams.in_hand(slow):
        chosen = {upstreams.choose(THREE, ())[0] for _ in range(10)}
    assert chosen == {"b", "c"}


def test_suspects_get_requests_only_where_none_is_up() -> None:
    upstreams = Upstreams(CONFIG, Time())
    mixed = service(("a", "SUSPECT"), ("b", "UP"))
    assert [upstreams.choose(mixed, ())[0] for _ in range(3)] == list("bbb")
    assert upstreams.choose(mixed, ("b",))[0] == "a"


def test_a_breaker_opens_lets_one_through_after_its_pause_and_closes_again() -> None:
    time = Time()
    upstreams = Upstreams(CONFIG, time)
    alone = service(("a", "UP"))
    for _ in range(2):
        _, upstream = upstreams.choose(alone, ())
        with upstreams.in_hand(upstream):
            upstreams.failed(upstream)
    with pytest.raises(NoneLeft) as none:
        upstreams.choose(alone, ())
    assert none.value.seconds == 10.0
    assert upstreams.count_open() == 1
    time.seconds = 10.0
    _, upstream = upstreams.choose(alone, ())
    with upstreams.in_hand(upstream):
        with pytest.raises(NoneLeft):  # one at a time until it is known
            upstreams.choose(alone, ())
        upstreams.failed(upstream)
    with pytest.raises(NoneLeft):
        upstreams.choose(alone, ())
    time.seconds = 20.0
    with upstreams.in_hand(upstreams.choose(alone, ())[1]):
        upstream.breaker.answered()  # the head is enough to let others in...
        assert upstreams.choose(alone, ())[0] == "a"
    upstreams.failed(upstream)  # ...but not to have as many failures again
    assert upstream.breaker.state is BreakerState.OPEN
    time.seconds = 30.0
    with upstreams.in_hand(upstreams.choose(alone, ())[1]):
        upstream.breaker.succeeded()
    upstreams.failed(upstream)
    assert upstreams.count_open() == 0


def test_answers_that_break_off_open_the_breaker_as_well() -> None:
    upstreams = Upstreams(CONFIG, Time())
    alone = service(("a", "UP"))
    for _ in range(2):
        _, upstream = upstreams.choose(alone, ())
        with upstreams.in_hand(upstream):
            upstream.breaker.answered()
            upstreams.failed(upstream)
    assert upstreams.count_open() == 1


def test_an_older_request_that_ends_does_not_let_a_second_one_find_out() -> None:
    time = Time()
    upstreams = Upstreams(CONFIG, time)
    alone = service(("a", "UP"))
    _, upstream = upstreams.choose(alone, ())
    with upstreams.in_hand(upstream):
        for _ in range(2):
            upstreams.failed(upstream)
        time.seconds = 10.0
        probe = upstreams.in_hand(upstreams.choose(alone, ())[1])
        probe.__enter__()
    with pytest.raises(NoneLeft):
        upstreams.choose(alone, ())
    probe.__exit__(None, None, None)


def test_a_client_that_goes_away_says_nothing_of_the_instance() -> None:
    time = Time()
    upstreams = Upstreams(CONFIG, time)
    alone = service(("a", "UP"))
    _, upstream = upstreams.choose(alone, ())
    for _ in range(2):
        upstreams.failed(upstream)
    time.seconds = 10.0
    with upstreams.in_hand(upstream):
        pass  # neither word
    assert upstreams.choose(alone, ())[0] == "a"


def test_instances_that_left_are_forgotten_once_they_have_nothing_in_hand() -> None:
    upstreams = Upstreams(CONFIG, Time())
    _, upstream = upstreams.choose(service(("a", "UP")), ())
    with upstreams.in_hand(upstream):
        upstreams.forget_others(["b"])
        assert "a" in upstreams._known
    upstreams.forget_others(["b"])
    assert not upstreams._known
