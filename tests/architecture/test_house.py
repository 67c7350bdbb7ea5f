"""What could drift and must not."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import messaging

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("messaging", "gateway_app", "services", "examples")
#: What a project's settings are, here and in the example that is a project of its own.
SETTINGS = {"gateway_app/settings.py", "examples/shop/shop/settings.py"}
MODULES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.parts
)
MAX_LINES = 300
#: In JavaScript; ruff has its own for Python.
MAX_COLUMNS = 120
NODE_MODULES = sorted(
    path for folder in ("", "lib/") for path in (ROOT / "clients/node").glob(f"{folder}*.js")
)
#: Longer by their docstrings: the public API in one place.
LONGER = {"messaging/communicator.py": 400}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_what_is_exported_is_there_and_sorted() -> None:
    assert messaging.__all__ == sorted(messaging.__all__)
    assert all(hasattr(messaging, name) for name in messaging.__all__)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_says_what_it_is_and_stays_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGER.get(relative(path), MAX_LINES)
    assert ast.get_docstring(ast.parse(text)), "no module docstring"


@pytest.mark.parametrize("path", NODE_MODULES, ids=relative)
def test_a_module_of_the_client_for_node_stays_small(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= MAX_LINES
    assert lines[0].startswith("/**"), "does not say what it is"
    assert [line for line in lines if len(line) > MAX_COLUMNS] == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_the_environment_is_read_in_one_place(path: Path) -> None:
    if relative(path) in SETTINGS:
        return
    reads = re.findall(r"os\.getenv|os\.environ(?!\.setdefault)", path.read_text())
    allowed = 1 if relative(path) == "gateway_app/process.py" else 0  # passed on to children
    assert len(reads) <= allowed


def run_alone(code: str) -> None:
    environment = {"DJANGO_SETTINGS_MODULE": "gateway_app.settings", "PATH": "/usr/bin"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


def test_sending_needs_neither_celery_nor_flower() -> None:
    """A web process that only sends must not pay for a worker."""
    code = (
        "import sys, django; django.setup(); import messaging, messaging.custody.outbox; "
        "bad = {'celery', 'flower'} & set(sys.modules); sys.exit(repr(bad) if bad else 0)"
    )
    run_alone(code)


def test_a_worker_loads_no_page() -> None:
    """Celery's own fix-up does, whatever project it runs in: time of each start, and memory."""
    run_alone(
        "import sys; from celery.app.utils import find_app; app = find_app('services.user'); "
        "app.loader.import_default_modules(); assert 'services.user.handlers' in sys.modules; "
        "sys.exit('gateway_app.urls' in sys.modules)"
    )


@pytest.mark.parametrize(
    "document",
    [
        "docs/architecture.md",
        "README.md",
        "docs/guarantees.md",
        "docs/security.md",
        "docs/production.md",
        "docs/testing.md",
        "docs/upgrading.md",
        "docs/node.md",
        "docs/wire_protocol.md",
        "docs/from_celery.md",
        "docs/adoption.md",
        "examples/shop/README.md",
    ],
)
def test_files_that_documents_name_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`((?:messaging|gateway_app|services|docs|tests)/[\w/.]*)`", text))
    named.discard("services/hello/celery.py")  # the reader's own
    named |= {link for link in re.findall(r"\]\(([\w./-]+)\)", text) if "://" not in link}
    folder = (ROOT / document).parent
    missing = {n for n in named if not ((ROOT / n).exists() or (folder / n).exists())}
    assert not missing


@pytest.mark.parametrize(
    "document",
    ["docs/guarantees.md", "docs/security.md", "docs/upgrading.md", "docs/node.md"],
)
def test_every_test_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    known = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    known |= set(re.findall(r"def (test_\w+)", sources))
    assert named <= known


def test_the_matrix_of_guarantees_is_what_the_conformance_suite_checks() -> None:
    text = (ROOT / "docs/guarantees.md").read_text()
    matrix = text.partition("## On every broker")[2].partition("## Critical")[0]
    rows = [line.split("|") for line in matrix.splitlines() if line.startswith("| ")][1:]
    stated = {cells[1].strip(): cells[5].strip().strip("`") for cells in rows}
    checked = {
        match[1]: path.stem
        for path in (ROOT / "tests/conformance").glob("test_*.py")
        for match in re.finditer(r'mark\.promise\(\s*"(.*)"', path.read_text())
    }
    assert stated == checked


def test_the_service_of_the_readme_works_as_it_stands() -> None:
    """Its code is taken from the page; tests/e2e runs the commands beside it."""
    snippet = re.search(r"```python\n(import os.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert snippet is not None
    code = snippet[1] + "\nassert say_hello(Hello(name='Ada')) == {'text': 'Hello, Ada!'}"
    code += "\nassert app.conf.worker_pool == 'messaging.worker.pool:ThreadPool'"
    run_alone(code)


def test_the_list_of_signals_is_what_the_code_sends() -> None:
    catalogue = set(
        re.findall(r"^(message_\w+) = Signal", (ROOT / "messaging/events.py").read_text(), re.M)
    )
    sent = set()
    for path in (ROOT / "messaging").rglob("*.py"):
        sent |= set(re.findall(r"emit\(\s*(message_\w+)", path.read_text()))
    assert sent == catalogue
