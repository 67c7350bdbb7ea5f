"""The gateway in a project of somebody else's that is set up wrong: told in one line what to add.

tests/e2e/test_installed_package.py has one that is set up right.
"""

import os
from pathlib import Path

from tests.support.forked import run
from tests.support.processes import ROOT


def last_line(folder: Path, text: str) -> str:
    """Run a program of another project; return the last line that it says."""
    file = folder / "program.py"
    file.write_text(f"import django\nfrom django.conf import settings\n{text}")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = run("python", str(file), env=environment, folder=folder)
    return (done.stdout + done.stderr).splitlines()[-1]


def test_apps_that_the_gateway_needs_are_named(tmp_path: Path) -> None:
    apps = ["gateway_app", "django.contrib.auth", "django.contrib.contenttypes"]
    said = last_line(tmp_path, f"settings.configure(INSTALLED_APPS={apps})\ndjango.setup()\n")
    assert "INSTALLED_APPS: expected what gateway_app needs" in said
    assert "messaging, django.contrib.admin" in said


def test_a_project_that_forgot_the_app_of_messaging_is_told_so(tmp_path: Path) -> None:
    said = last_line(
        tmp_path,
        "settings.configure(MESSAGING={'broker_url': 'sqlite:////nowhere/b.sqlite3'})\n"
        "django.setup()\n"
        "from messaging import ServiceCommunicator\n"
        "ServiceCommunicator('orders').bus\n",
    )
    assert "settings.INSTALLED_APPS: expected 'messaging'" in said
    assert "manage.py migrate" in said
