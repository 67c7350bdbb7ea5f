"""Publishers are lent to one thread at a time, however its use of one ends."""

import contextlib
import gc
import itertools
import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from messaging.errors import BrokerUnavailable, PublishError
from messaging.publisher_pool import POOL_SIZE, PublisherPool


class Opened:
    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


def a_pool(wait_seconds: float = 0.01) -> tuple[PublisherPool, list[Any]]:
    opened: list[Any] = []

    def open_publisher() -> Any:
        opened.append(Opened())
        return opened[-1]

    return PublisherPool(open_publisher, wait_seconds), opened


def test_one_thread_needs_one_publisher_however_often_it_borrows() -> None:
    pool, opened = a_pool()
    for _ in range(10):
        with pool.publisher():
            pass
    assert len(opened) == 1


def test_threads_never_share_one_at_the_same_time() -> None:
    pool, opened = a_pool(wait_seconds=5)
    lent: list[object] = []
    all_have_one = threading.Barrier(POOL_SIZE)

    def borrow() -> None:
        with pool.publisher() as publisher:
            lent.append(publisher)
            all_have_one.wait(5)

    threads = [threading.Thread(target=borrow) for _ in range(POOL_SIZE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(publisher) for publisher in lent}) == len(opened) == POOL_SIZE


def test_when_all_are_in_use_the_next_one_waits_so_long_and_no_longer() -> None:
    pool, _ = a_pool()
    borrowed = [pool.publisher() for _ in range(POOL_SIZE)]
    for context in borrowed:
        context.__enter__()
    with pytest.raises(BrokerUnavailable, match="busy"), pool.publisher():
        pass
    for context in borrowed:
        context.__exit__(None, None, None)
    with pool.publisher():
        pass


def test_an_error_of_the_bus_in_the_block_gives_the_publisher_back() -> None:
    pool, opened = a_pool()
    for _ in range(POOL_SIZE + 1):
        with pytest.raises(PublishError), pool.publisher():
            raise PublishError
    assert len(opened) == 1
    assert not opened[0].is_closed


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_what_was_interrupted_is_closed_and_not_lent_again(
    interrupt: type[BaseException],
) -> None:
    pool, opened = a_pool()
    for _ in range(POOL_SIZE + 1):
        with pytest.raises(interrupt), pool.publisher():
            raise interrupt
    assert len(opened) == POOL_SIZE + 1
    assert all(each.is_closed for each in opened)


def test_what_cannot_be_closed_is_not_lent_again_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: Opened) -> None:
        raise OSError

    monkeypatch.setattr(Opened, "close", fail)
    pool, opened = a_pool()
    with pytest.raises(KeyboardInterrupt), pool.publisher():
        raise KeyboardInterrupt
    with pool.publisher() as publisher:
        assert publisher is opened[1]


def _interrupted_at(step: int, function: Callable[[], None]) -> bool:
    """Run a function and interrupt it at one of its steps; return whether it has so many."""
    left = step

    def interrupt(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        return interrupt

    before = sys.gettrace()
    gc.disable()  # what is raised in a callback of the collector's is nobody's interrupt
    sys.settrace(interrupt)
    try:
        function()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
        gc.enable()
    return left <= 0


@pytest.mark.parametrize("has_one", [True, False])
def test_wherever_it_is_interrupted_others_are_lent_publishers(has_one: bool) -> None:
    """In the midst of a lock's own code it stayed locked, and nobody sent anything any more."""

    def borrow(pool: PublisherPool) -> None:
        with contextlib.suppress(BrokerUnavailable), pool.publisher():
            pass

    for step in itertools.count(1):
        pool, _ = a_pool()
        with contextlib.ExitStack() as lent:
            for _ in range(0 if has_one else POOL_SIZE):
                lent.enter_context(pool.publisher())
            if not _interrupted_at(step, lambda pool=pool: borrow(pool)):
                break
        other = threading.Thread(target=borrow, args=(pool,), daemon=True)
        other.start()
        other.join(5)
        assert not other.is_alive(), f"step {step}"


def test_a_forked_child_opens_its_own_and_leaves_its_parents_alone() -> None:
    pool, opened = a_pool()
    with pool.publisher():
        pass
    child = os.fork()
    if child == 0:
        with pool.publisher() as publisher:
            fine = publisher is opened[1] and not opened[0].is_closed
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    with pool.publisher() as publisher:
        assert publisher is opened[0]


def test_closing_closes_what_is_idle_and_the_pool_goes_on() -> None:
    pool, opened = a_pool()
    with pool.publisher():
        pass
    pool.close()
    assert opened[0].is_closed
    with pool.publisher() as publisher:
        assert publisher is opened[1]
