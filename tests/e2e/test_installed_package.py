"""The package, installed where nothing of the repository is: what docs/adoption.md says of it."""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from gateway_app.preconditions import free_port
from tests.support.libraries import lend
from tests.support.processes import ROOT, Process
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

ASK = (
    "from mysite.bus import communicator as c; "
    "print(c.request('orders', 'order.price', {'count': 2}, timeout=10)); c.close()"
)

REFUSED = """
import messaging
for url in ("redis://127.0.0.1", "sqlite:////tmp/unused.sqlite3"):
    try:
        messaging.standalone("other", broker_url=url, database_url="postgres://127.0.0.1/x")
    except messaging.ConfigurationError as exc:
        print(exc)
"""


class Installed(NamedTuple):
    """The package in an environment of its own, with the libraries that it asks for."""

    wheel: Path
    python: Path
    libraries: Path

    def add(self, *extras: str) -> None:
        """Add what pip would have installed with these extras."""
        (site,) = (self.python.parents[1] / "lib").glob("python*/site-packages")
        (package,) = (
            found
            for found in distributions(path=[str(site)])
            if found.name == "django-service-bus"
        )
        lend(self.libraries, package, *extras)


class Project:
    """A fresh Django project, and the Python that has the package installed."""

    def __init__(self, folder: Path, installed: Installed) -> None:
        self.folder = folder
        self.installed = installed
        self.python = installed.python
        self.processes: list[Process] = []
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        self.environment = {**kept, "C_FORCE_ROOT": "1"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python), *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def succeed(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *module: str, **env: str) -> Process:
        """Start a module in the project's folder, which is where its own modules are found."""
        process = Process(
            *("/bin/sh", "-c", 'cd "$0" && exec "$@"', str(self.folder), str(self.python), "-m"),
            *module,
            env={**self.environment, **env},
            log=self.folder / f"{module[2] if len(module) > 2 else module[0]}.log",
        )
        self.processes.append(process)
        return process

    def add(self, *files: str) -> None:
        """Add what the page shows for these files, in its order."""
        for name, text in files_of_the_page():
            if name in files:
                with (self.folder / name).open("a") as file:
                    file.write(f"\n{text}")

    def eventually(self, *arguments: str) -> str:
        def output() -> str:
            done = self.run(*arguments)
            return done.stdout if done.returncode == 0 else ""

        return eventually(output, 90, " ".join(arguments))


def files_of_the_page() -> list[tuple[str, str]]:
    page = (ROOT / "docs/adoption.md").read_text()
    return re.findall(r"```python\n# (\S+)\n(.*?)```", page, re.DOTALL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The package as it is built, installed without extras."""
    folder = tmp_path_factory.mktemp("package")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    subprocess.run(build, check=True, cwd=folder)
    (wheel,) = folder.glob("django_service_bus-*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv/bin/python"
    subprocess.run(
        [*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)],
        check=True,
        cwd=folder,
    )
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    libraries = folder / "libraries"
    libraries.mkdir()
    (site / "libraries.pth").write_text(str(libraries))
    installed = Installed(wheel, python, libraries)
    installed.add()
    return installed


@pytest.fixture
def project(installed: Installed, tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path, installed)
    seen = project.succeed("-c", "import messaging, sys; print(messaging.__file__, *sys.path)")
    assert str(ROOT) not in seen
    project.succeed("-m", "django", "startproject", "mysite", ".")
    yield project
    for process in project.processes:
        process.stop()


def test_what_runs_and_what_it_shows_are_in_the_package_and_nothing_else(
    installed: Installed,
) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        packed = {Path(name) for name in wheel.namelist()}
    kept = {
        path.relative_to(ROOT)
        for package in ("messaging", "gateway_app")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    there = {path for path in packed if ".dist-info" not in path.parts[0]}
    assert there == kept
    kinds = {(path.parts[0], path.parts[1]) for path in there if len(path.parts) > 2}
    assert {
        ("messaging", "migrations"),
        ("gateway_app", "migrations"),
        ("gateway_app", "templates"),
        ("gateway_app", "static"),
        ("gateway_app", "service_template"),
    } <= kinds


def test_a_django_project_and_a_plain_script_talk_by_what_the_page_says(project: Project) -> None:
    settings = (project.folder / "mysite/settings.py").read_text()
    project.add("mysite/settings.py", "mysite/bus.py", "mysite/celery.py", "report.py")
    project.add("test_orders.py")
    # First without the gateway, which comes later on the page.
    first = (project.folder / "mysite/settings.py").read_text()
    only_messaging = re.sub(r'INSTALLED_APPS = \["gateway_app", .*', "", first)
    assert only_messaging != first
    (project.folder / "mysite/settings.py").write_text(only_messaging)
    assert "no issues" in project.succeed("manage.py", "check")
    project.succeed("manage.py", "migrate", "--verbosity=0")
    project.start("celery", "-A", "mysite", "worker")
    asked = project.eventually("manage.py", "shell", "-v", "0", "-c", ASK)
    assert "{'total': 10}" in asked
    assert "{'total': 15}" in project.succeed("report.py")
    assert (project.folder / "report-script.sqlite3").stat().st_mode & 0o077 == 0

    (project.folder / "refused.py").write_text(REFUSED)
    without_redis, without_psycopg = project.succeed("refused.py").splitlines()
    assert "pip install 'django-service-bus[redis]'" in without_redis
    assert "pip install 'django-service-bus[postgresql]'" in without_psycopg

    # Its tests have the fixture of the package, and of no conftest.
    project.installed.add("test")
    assert "1 passed" in project.succeed(
        "-m", "pytest", "-q", "--ds=mysite.settings", "test_orders.py"
    )

    # Then as a host of the gateway.
    (project.folder / "mysite/settings.py").write_text(first)
    told = project.run("manage.py", "check")
    assert "pip install 'django-service-bus[gateway]'" in told.stderr.splitlines()[-1]
    project.installed.add("gateway")
    told = project.run("manage.py", "check")
    assert "gateway_app.E002" in told.stderr
    project.add("mysite/urls.py")
    assert "no issues" in project.succeed("manage.py", "check")
    project.succeed("manage.py", "migrate", "--verbosity=0")
    port = str(free_port())
    env = {"DJANGO_SETTINGS_MODULE": "mysite.settings"}
    project.start("celery", "-A", "gateway_app", "worker", **env)
    project.start("uvicorn", "gateway_app.asgi:application", "--port", port, **env)
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: status(f"{url}/ready") == 200, 90, "the gateway's web process")
    assert status(f"{url}/api/openapi.json") == 200
    assert status(f"{url}/ops/") == 302
    assert status(f"{url}/static/ops/ops.css") == 200
    listed = eventually(
        lambda: "orders" in project.run("manage.py", "bus_services").stdout, 90, "registry"
    )
    assert listed

    # And what is missing is said in a line.
    (project.folder / "mysite/settings.py").write_text(f"{settings}\nMESSAGING = 7\n")
    refused = project.run("-c", "import mysite.celery")
    assert "settings.MESSAGING: expected a dict such as" in refused.stderr
    lost = project.run("-m", "celery", "-A", "gateway_app", "worker")
    assert "DJANGO_SETTINGS_MODULE: expected the settings of your project" in lost.stderr
    assert (lost.returncode, lost.stderr.count("\n")) == (2, 1)


@pytest.mark.long
def test_the_shop_needs_the_package_and_its_extras_alone(
    installed: Installed, tmp_path: Path
) -> None:
    """Of its tests those of one service: those of all together need hypothesis as well."""
    installed.add("gateway", "test")
    shop = Project(tmp_path, installed)
    ignored = shutil.ignore_patterns("__pycache__", "var")
    shutil.copytree(ROOT / "examples/shop", tmp_path, dirs_exist_ok=True, ignore=ignored)
    assert "no issues" in shop.succeed("manage.py", "check")
    shop.succeed("manage.py", "migrate", "--verbosity=0")
    assert "No changes" in shop.succeed("manage.py", "makemigrations", "--check", "--dry-run")
    assert "passed" in shop.succeed("-m", "pytest", "-q", "shop/orders", "shop/payments")


def status(url: str) -> int | None:
    try:
        return httpx.get(url, trust_env=False).status_code
    except httpx.TransportError:
        return None
