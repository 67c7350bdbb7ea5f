"""A browser, somebody who looks, and a stack to look at."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.chromium import ARGUMENTS, executable
from tests.browser.operator import MAKE_USERS, Operator
from tests.support.brokers import Features
from tests.support.forked import run
from tests.support.http_stack import HttpStack
from tests.support.installation import Installation

#: Beside other tests everything takes its time.
expect.set_options(timeout=15_000)


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker of tests that do not share a stack with the others of their module."""
    config.addinivalue_line("markers", "own_stack: begins where nothing has happened yet")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium, without a window."""
    found = executable()
    if found is None:
        text = "no Chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail(text)
        pytest.skip(text)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def staffed_database(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    """A database with the users that log in, to be copied."""
    folder = tmp_path_factory.mktemp("staffed")
    database = folder / "gateway.sqlite3"
    shutil.copy(migrated_database, database)
    env = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    env |= {"VAR_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "gateway_app.settings"}
    command = ("python", "manage.py", "shell", "-c", MAKE_USERS)
    run(*command, env=env, folder=folder).check_returncode()
    return database


@pytest.fixture
def stack(
    request: pytest.FixtureRequest, features: Features, tmp_path: Path
) -> Iterator[HttpStack]:
    """Server, worker and beat of the gateway: those of the module, or the test's own."""
    if request.node.get_closest_marker("own_stack") is None:
        yield request.getfixturevalue("shared_stack")
    else:
        yield from _started(features, tmp_path, request.getfixturevalue("staffed_database"))


@pytest.fixture(scope="module")
def shared_stack(
    features: Features, tmp_path_factory: pytest.TempPathFactory, staffed_database: Path
) -> Iterator[HttpStack]:
    """What the tests of a module look at together: a start takes longer than most of them."""
    yield from _started(features, tmp_path_factory.mktemp("stack"), staffed_database)


def _started(features: Features, folder: Path, database: Path) -> Iterator[HttpStack]:
    """Start a stack with short times, and patience for a browser."""
    installation = Installation(features, folder, database)
    try:
        times = {"heartbeat_seconds": 1.0, "suspect_seconds": 4.0, "down_seconds": 8.0}
        with HttpStack(installation, health_check_seconds=2.0, **times) as stack:
            yield stack.start()
    finally:
        installation.close()


@pytest.fixture
def operator(browser: Browser, stack: HttpStack) -> Iterator[Operator]:
    """Somebody who may do everything, logged in; fails if the browser complained meanwhile."""
    yield from _logged_in(browser, stack, "anna")


@pytest.fixture
def viewer(browser: Browser, stack: HttpStack) -> Iterator[Operator]:
    """Somebody who may only look."""
    yield from _logged_in(browser, stack, "sam")


def _logged_in(browser: Browser, stack: HttpStack, name: str) -> Iterator[Operator]:
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{stack.port}",
        viewport={"width": 1440, "height": 900},
        # What moves keeps a core busy where there is no graphics card.
        reduced_motion="reduce",
    )
    context.set_default_timeout(15_000)
    operator = Operator(context.new_page(), stack)
    operator.log_in(name)
    yield operator
    context.close()
    assert operator.complaints == []


@pytest.fixture
def page(operator: Operator) -> Page:
    """The operator's browser page."""
    return operator.page
