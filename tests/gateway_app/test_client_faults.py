"""What a client does wrong is no error of the gateway's."""

import logging
from collections.abc import Iterator

import pytest
from django.core.exceptions import SuspiciousOperation
from django.test import Client, override_settings

from gateway_app.client_faults import LOGGERS


@pytest.fixture
def said() -> Iterator[list[logging.LogRecord]]:
    """What is logged of clients."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keep()
    logger = logging.getLogger("django.security")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


@override_settings(ALLOWED_HOSTS=["gateway.example.com"])
def test_a_host_that_nobody_allowed_is_a_400_and_a_warning(said: list[logging.LogRecord]) -> None:
    answer = Client().get("/health", headers={"host": "elsewhere.example.com"})
    assert answer.status_code == 400
    (record,) = said
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert "elsewhere.example.com" in record.getMessage()


def test_what_is_the_clients_fault_is_known_to_django() -> None:
    names = {name.rpartition(".")[2] for name in LOGGERS}
    found = {each.__name__ for each in _all_below(SuspiciousOperation)}
    assert names <= found


def _all_below(base: type[Exception]) -> Iterator[type[Exception]]:
    for each in base.__subclasses__():
        yield each
        yield from _all_below(each)
