"""Fixtures shared by every suite."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.brokers import BROKERS, Features, require
from tests.support.installation import ROOT, Installation


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with every migration applied, to be copied."""
    folder = tmp_path_factory.mktemp("database")
    env = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    env |= {"VAR_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "gateway_app.settings"}
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"], cwd=ROOT, env=env, check=True
    )
    return folder / "gateway.sqlite3"


@pytest.fixture(scope="session", params=list(BROKERS))
def features(request: pytest.FixtureRequest) -> Features:
    """Each broker in turn."""
    broker = BROKERS[request.param]
    require(broker)
    return broker


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
