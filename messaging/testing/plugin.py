"""Fixtures for pytest: `bus`, and `bus_without_database`.

An entry point for it is named like this module: so pytest knows it again where a ``conftest.py``
names it as well.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from messaging.testing.harness import Harness


@pytest.fixture
def bus(db: None) -> Iterator["Harness"]:
    """A harness with Django's test database, rolled back after the test (pytest-django's ``db``).

    With ``@pytest.mark.django_db(transaction=True)`` transactions are committed as in production.
    """
    from messaging.testing.harness import Harness  # Django is set up by now, and was not before

    with Harness() as harness:
        yield harness


@pytest.fixture
def bus_without_database() -> Iterator["Harness"]:
    """A harness for what needs no database in production: NORMAL, handled at the first attempt."""
    from messaging.testing.harness import Harness

    with Harness(has_database=False) as harness:
        yield harness
