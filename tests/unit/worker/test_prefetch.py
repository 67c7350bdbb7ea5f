"""How many messages a worker holds, by how long it takes for them."""

from kombu.common import QoS

from messaging.worker.prefetch import STEPS, Prefetch


def a_prefetch(concurrency: int = 4, *, goes_ahead: bool = True) -> tuple[Prefetch, QoS]:
    qos = QoS(lambda prefetch_count: None, concurrency)
    return Prefetch(qos, concurrency, goes_ahead=goes_ahead), qos


def note(prefetch: Prefetch, seconds: float, times: int = 200) -> None:
    for _ in range(times):
        prefetch.note(seconds)


def test_at_first_it_holds_what_it_handles() -> None:
    _, qos = a_prefetch()
    assert qos.value == 4


def test_a_few_fast_messages_are_enough_to_hold_more() -> None:
    prefetch, qos = a_prefetch()
    note(prefetch, 0.0001, times=3)
    assert qos.value == 4
    note(prefetch, 0.0001, times=1)
    assert qos.value == 64


def test_with_fast_handlers_it_holds_as_many_more_as_are_begun_in_20_ms() -> None:
    prefetch, qos = a_prefetch()
    note(prefetch, 0.0001)
    assert qos.value == 4 + 60
    prefetch, qos = a_prefetch()
    note(prefetch, 0.0006)
    assert qos.value == 4 + 15
    prefetch, qos = a_prefetch(concurrency=1)
    note(prefetch, 0.002)
    assert qos.value == 1 + 4


def test_with_slow_handlers_it_holds_nothing_more() -> None:
    prefetch, qos = a_prefetch()
    note(prefetch, 0.02)
    assert qos.value == 4


def test_one_slow_message_is_enough_to_let_go() -> None:
    prefetch, qos = a_prefetch()
    note(prefetch, 0.0001)
    prefetch.note(1.0)
    assert qos.value == 4


def test_a_standstill_lets_go_and_it_recovers() -> None:
    prefetch, qos = a_prefetch()
    note(prefetch, 0.0001)
    prefetch.note_standstill()
    assert qos.value == 4
    note(prefetch, 0.0001)
    assert qos.value == 64


def test_a_pace_at_a_border_does_not_change_it_to_and_fro() -> None:
    prefetch, qos = a_prefetch()
    border = 0.02 / STEPS[1]
    note(prefetch, border / 3)
    before = qos.value
    values = set()
    for times in range(200):
        prefetch.note(border * (0.9 if times % 2 else 0.6))
        values.add(qos.value)
    assert values == {before}


def test_pools_that_cannot_give_back_hold_nothing_ahead() -> None:
    prefetch, qos = a_prefetch(goes_ahead=False)
    note(prefetch, 0.0001)
    assert qos.value == 4
