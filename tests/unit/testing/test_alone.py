"""The page about testing, taken at its word, in a project that has the library alone."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT

SETTINGS = """
SECRET_KEY = "not secret"
INSTALLED_APPS = ["messaging"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
MESSAGING = {"broker_url": "sqlite:////nowhere/broker.sqlite3"}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
#: A test that fails, and one that looks at what was imported.
MORE = """
from django.test import TestCase

from messaging.testing import Harness


def test_of_somebody_who_expects_too_much(bus):
    bus.service(billing)
    bus.send("billing", "invoice.create", {"id": 7, "attempts": 2})
    assert bus.handled("invoice.create").once


class OfDjango(TestCase):
    def test_without_fixtures(self):
        with Harness() as bus:
            bus.service(billing)
            bus.send("billing", "invoice.create", {"id": 7, "attempts": 1}, priority="CRITICAL")
            assert bus.handled("invoice.create").once


def test_nothing_else_is_needed(bus_without_database):
    import sys

    assert not {"gateway_app", "services", "celery.app"} & set(sys.modules)
"""


def test_the_page_about_testing_works_as_it_stands(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/testing.md").read_text(), re.S)
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "conftest.py").write_text(blocks[1])
    (tmp_path / "test_billing.py").write_text(blocks[0] + MORE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--ds=settings", "-p", "pytest_django.plugin"],
        cwd=tmp_path,
        env={
            "PYTHONPATH": f"{tmp_path}:{ROOT}",
            "PATH": "/usr/bin",
            # All the plugins that are installed for other tests.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 4 passed" in done.stdout, done.stdout + done.stderr
    assert (
        "E       AssertionError: expected exactly one handled invoice.create, found 0.\n"
        "E       What happened:\n"
        'E         0s: tester sent invoice.create to billing {"id": 7, "attempts": 2}\n'
        "E         0s: billing: attempt 1 of invoice.create failed: ConnectionError: "
    ) in done.stdout
    # The frames of the harness say nothing to who has written the test.
    assert "messaging/testing" not in done.stdout.partition("Captured log")[0]
