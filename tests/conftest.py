"""Fixtures shared by every suite."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from hypothesis import HealthCheck, settings

from tests.support.brokers import BROKERS, Features, broker_at, require
from tests.support.forked import run
from tests.support.installation import Installation

#: The fixture `bus`. Where the library is installed, its entry point says the same.
pytest_plugins = ("messaging.testing.plugin",)

# How long an example takes says how busy the machine is.
settings.register_profile(
    "untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    tmp_path_factory: pytest.TempPathFactory, django_db_modify_db_settings_parallel_suffix: None
) -> None:
    """Test on a database of each test process; with SQLite on a file, as in life.

    Connections to SQLite's shared memory, Django's choice for tests, lock each other out without
    waiting for their turn.
    """
    default = connections["default"]
    if default.vendor == "sqlite":
        file = tmp_path_factory.mktemp("django") / "test.sqlite3"
        default.settings_dict["TEST"]["NAME"] = str(file)


@pytest.fixture(scope="session", autouse=True)
def _no_other_sessions(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the test database go: threads that live as long as the process have sessions in it."""
    if connections["default"].vendor != "postgresql":
        yield
        return
    blocker = request.getfixturevalue("django_db_blocker")
    request.getfixturevalue("django_db_setup")
    yield
    with blocker.unblock(), connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with every migration applied, to be copied."""
    folder = tmp_path_factory.mktemp("database")
    env = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    env |= {"VAR_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "gateway_app.settings"}
    command = ("python", "manage.py", "migrate", "--verbosity=0")
    run(*command, env=env, folder=folder).check_returncode()
    return folder / "gateway.sqlite3"


def pytest_configure() -> None:
    """Let Ctrl-C reach what is started: a shell has its background jobs ignore it, and theirs."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `manage.py bus_conformance` name a broker and read what became of each promise."""
    parser.addoption("--broker-url", help="test this broker instead of the three known ones")
    parser.addoption("--promises", type=Path, help="write the outcome of each promise there")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests of brokers with each of them, or with the one that was named."""
    if "features" in metafunc.fixturenames:
        url = metafunc.config.getoption("--broker-url")
        brokers = [broker_at(url)] if url else list(BROKERS.values())
        if metafunc.definition.get_closest_marker("embedded_only"):
            brokers = [BROKERS["sqlite"]]
        is_long = metafunc.definition.get_closest_marker("long_elsewhere") and not url
        found = [
            pytest.param(
                broker,
                id=broker.name,
                marks=[pytest.mark.long] if is_long and broker.name != "sqlite" else [],
            )
            for broker in brokers
        ]
        metafunc.parametrize("features", found, indirect=True, scope="session")


@pytest.fixture(scope="session")
def features(request: pytest.FixtureRequest) -> Features:
    """Each broker in turn."""
    require(request.param)
    broker: Features = request.param
    return broker


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note beside each outcome which promise it is about; it travels with the report."""
    outcome: Any = yield
    for marker in item.iter_markers("promise"):
        outcome.get_result().user_properties.append(("promise", marker.args[0]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Gather, in the process that the reports come to, which promises were broken."""
    promises = [value for name, value in report.user_properties if name == "promise"]
    for promise in promises:
        kept = _promises.setdefault(str(promise), [])
        if report.failed:
            kept.append(report.nodeid.partition("::")[2])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what became of the promises, where that was asked for."""
    file: Path | None = session.config.getoption("--promises")
    if file is not None and not hasattr(session.config, "workerinput"):
        file.write_text(json.dumps(_promises))


#: The failed tests of each promise.
_promises: dict[str, list[str]] = {}


@pytest.fixture
def installation(
    features: Features, tmp_path: Path, migrated_database: Path
) -> Iterator[Installation]:
    """An installation of its own for one test."""
    private = Installation(features, tmp_path, migrated_database)
    yield private
    private.close()


@pytest.fixture(scope="session")
def shared(
    features: Features, tmp_path_factory: pytest.TempPathFactory, migrated_database: Path
) -> Iterator[Installation]:
    """An installation with one running worker, for tests that leave it as it was."""
    folder = tmp_path_factory.mktemp(f"shared-{features.name}")
    installation = Installation(features, folder, migrated_database)
    try:
        installation.start_worker("probe", patterns=("work", "topic.*.end", "document.#"))
        yield installation
    finally:
        installation.close()
