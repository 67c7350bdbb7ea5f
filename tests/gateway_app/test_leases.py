import threading
from datetime import timedelta

import pytest
from django.db import connection

from gateway_app.leases import acquire, holder_of, release
from gateway_app.models import Lease
from tests.gateway_app.registry.test_registry import NOW, after

pytestmark = pytest.mark.django_db


def test_a_lease_is_its_holders_until_it_lapses() -> None:
    assert acquire("beat", "a", 15, NOW)
    assert not acquire("beat", "b", 15, after(14))
    assert acquire("beat", "a", 15, after(14))
    assert not acquire("beat", "b", 15, after(28))
    assert acquire("beat", "b", 15, after(29))
    assert not acquire("beat", "a", 15, after(30))
    assert holder_of("beat") == "b"


def test_what_has_lapsed_and_nobody_took_is_renewed() -> None:
    acquire("beat", "a", 15, NOW)
    assert acquire("beat", "a", 15, after(100))


def test_what_is_given_up_is_free_at_once_and_only_its_holder_gives_it_up() -> None:
    acquire("beat", "a", 15, NOW)
    assert not release("beat", "b")
    assert release("beat", "a")
    assert acquire("beat", "b", 15, after(1))
    assert not release("beat", "a")
    assert holder_of("beat") == "b"


def test_a_clock_that_jumped_back_leaves_a_role_to_nobody_for_twice_the_lease_at_most() -> None:
    acquire("beat", "dead", 15, after(3600))
    assert acquire("beat", "b", 15, NOW)
    acquire("beat", "b", 15, after(14))
    assert not acquire("beat", "c", 15, NOW)  # a clock that differs a little


def test_roles_are_held_apart() -> None:
    assert acquire("beat", "a", 15, NOW)
    assert acquire("other", "b", 15, NOW)


@pytest.mark.django_db(transaction=True)
def test_of_many_who_ask_at_once_one_has_it() -> None:
    for round_number in range(5):
        now = NOW + timedelta(minutes=round_number)
        start, won = threading.Barrier(8), []

        def ask(number: int, now=now, start=start, won=won) -> None:
            start.wait()
            won.append(acquire("beat", f"h{number}", 15, now))
            connection.close()

        threads = [threading.Thread(target=ask, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(won) == [False] * 7 + [True]
    assert Lease.objects.count() == 1
