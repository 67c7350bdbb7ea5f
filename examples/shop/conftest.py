"""What all tests of the shop have in common."""

from pathlib import Path

import pytest
from pytest_django import Settings

#: The fixture `bus`. Where the package is installed, pytest finds it by itself.
pytest_plugins = ("messaging.testing.plugin",)


@pytest.fixture(autouse=True)
def _own_folder(settings: Settings, tmp_path: Path) -> None:
    """Have the payment provider keep its books in a folder of the test's own."""
    settings.VAR_DIR = tmp_path
