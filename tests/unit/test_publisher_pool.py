import os
import threading
from typing import Any

import pytest

from messaging.errors import BrokerUnavailable
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


def test_an_error_in_the_block_gives_the_publisher_back() -> None:
    pool, opened = a_pool()
    for _ in range(POOL_SIZE + 1):
        with pytest.raises(ZeroDivisionError), pool.publisher():
            raise ZeroDivisionError
    assert len(opened) == 1


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
