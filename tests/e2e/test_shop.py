"""The shop of examples/shop: its story as `make shop` plays it, its own tests, and its page."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Workplace
from tests.support.processes import BIN, ROOT, Process
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

SHOP = ROOT / "examples/shop"
PAGE = (SHOP / "README.md").read_text()
STEPS = sorted((SHOP / "shop/story/steps").glob("[a-z]*.py"))
#: What somebody types in a clone; the tests have the environment that these lines make.
SETTING_UP = ("make ", "export PYTHONPATH", "cd examples/shop")


def run(
    workplace: Workplace, command: str, folder: Path = SHOP
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env={
            **workplace.environment,
            "PATH": f"{BIN}{os.pathsep}{workplace.environment['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def commands(block: str) -> list[str]:
    return [line.partition("  #")[0][2:] for line in block.splitlines() if line.startswith("$ ")]


def quoted() -> list[tuple[str, str]]:
    """Parts of files that the page shows."""
    return re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)


BLOCKS = [commands(block) for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)]


def test_the_story_is_as_expected_and_leaves_nothing_behind(workplace: Workplace) -> None:
    """Make itself may install first; what it runs then is its recipe."""
    recipe = re.search(r"^shop:.*\n\t@(.*)\n", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    command = recipe[1].replace("$(SHOP)", "examples/shop").replace("$(CURDIR)", str(ROOT))
    command = command.replace(f"{ROOT}/$(BIN)", str(BIN))
    done = run(workplace, command, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout.count("    ok in ") == len(STEPS) == 9
    assert "\x1b" not in done.stdout  # colours are for terminals
    assert workplace.pids() == []
    assert not [name for name in os.listdir(workplace.folder) if name.startswith("bus-shop-")]


def test_the_tests_of_the_shop_pass(workplace: Workplace) -> None:
    done = run(workplace, "python -m pytest -q")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_page_quotes_is_what_the_files_say() -> None:
    for name, text in quoted():
        assert text in (SHOP / name).read_text(), name
    sources = "".join(path.read_text() for path in (SHOP / "shop").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named <= set(re.findall(r"def (test_\w+)", sources))
    listed = re.findall(r"^\| `(shop/[\w/.]*)`", PAGE, re.MULTILINE)
    assert listed
    assert [name for name in listed if not (SHOP / name).exists()] == []
    assert len(re.findall(r"^\d\. ", PAGE, re.MULTILINE)) == len(STEPS)


@pytest.fixture(scope="module")
def by_hand(new_workplace: Callable[[], Workplace]) -> Iterator[Workplace]:
    """The shop, started as the page says."""
    workplace = new_workplace()
    (start,) = (line for line in BLOCKS[1] if "run_stack" in line)
    stack = Process(
        *("/bin/sh", "-c", f'cd "$0" && exec "$1" {start.removeprefix("python ")}'),
        *(str(SHOP), sys.executable),
        env={**workplace.environment, "PYTHONPATH": str(ROOT)},
        log=workplace.folder / "stack.log",
    )
    workplace.processes.append(stack)

    def is_up() -> bool:
        assert stack.is_running(), stack.log.read_text()
        return "Everything runs" in stack.log.read_text()

    eventually(is_up, 90, "the shop")
    yield workplace
    assert stack.stop() == 0


def test_what_the_page_says_to_type_answers(by_hand: Workplace) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    setting_up = [line for block in BLOCKS[:2] for line in block if "run_stack" not in line]
    assert all(line.startswith(SETTING_UP) for line in setting_up)
    told = []
    for line in BLOCKS[2]:
        line = line.replace("localhost:8000", f"127.0.0.1:{by_hand.gateway_port}")
        done = run(by_hand, line.replace("curl", "curl --silent --show-error", 1))
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
    product, placed, later, cancelled = told
    assert '"stock":200' in product
    assert '"state":"placed","cents":1800' in placed
    assert re.search('"state":"(placed|reserved|confirmed)"', later)
    # Whichever was first: the money or the customer.
    assert '"state":"cancelled"' in cancelled or "the parcel is on its way" in cancelled
    *asked, tests = BLOCKS[3]
    assert shlex.split(tests)[:3] == ["python", "-m", "pytest"]  # see above
    for line in asked:
        eventually(lambda line=line: run(by_hand, line).returncode == 0, 30, line)
