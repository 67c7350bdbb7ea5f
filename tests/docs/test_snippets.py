"""Every fenced block of every page: it runs, or it is checked as far as one machine can."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from messaging import RetryPolicy, ServiceCommunicator
from messaging.testing import Harness
from tests.docs import programs
from tests.docs.blocks import BLOCKS, PAGES, Block, blocks_of, path_of
from tests.docs.console import Command, commands_in
from tests.docs.given import AFTERWARDS, given_for
from tests.docs.player import Player
from tests.e2e import test_from_celery, test_installed_package, test_shop
from tests.support.node import require_node
from tests.support.processes import ROOT
from tests.unit import test_wire_protocol
from tests.unit.services.conftest import Site, site  # noqa: F401 - a fixture
from tests.unit.services.conftest import page as web_page

#: Pages whose blocks of a language another test takes from the page and runs: what it takes.
ELSEWHERE: Final = {
    ("docs/adoption.md", "python"): [
        f"# {name}\n{text}" for name, text in test_installed_package.files_of_the_page()
    ],
    ("docs/from_celery.md", "python"): list(test_from_celery.CODE.values()),
    ("docs/wire_protocol.md", "json"): list(test_wire_protocol.BLOCKS.values()),
    ("examples/shop/README.md", "python"): [
        f"# {name}\n{text}" for name, text in test_shop.quoted()
    ],
    ("examples/shop/README.md", "console"): test_shop.BLOCKS,
}
#: As it is taken there.
READ_AS: Final[dict[str, Callable[[str], Any]]] = {
    "json": json.loads,
    "console": test_shop.commands,
}
#: Commands that are read here and not run, by how they begin, and why.
ONLY_READ: Final = {
    "bus_top": "goes on until Ctrl-C",
    "bus_conformance": "kills the workers of a broker for a minute",
    "bus_doctor": "asks the processes of an installation: tests/gateway_app/doctor",
    "bus_pause": "tells the workers past their queues: tests/faults/test_pausing.py",
    "check": "of the reader's settings: tests/gateway_app/test_production_settings.py",
    "bus_backup": "a folder of the reader's: tests/faults/test_backup.py",
    "bus_restore": "wants everything stopped: tests/faults/test_backup.py",
    "migrate": "a database of the reader's, who has just named it",
    "make": "runs for minutes, or for ever; CI runs the targets",
    "celery": "runs for ever: its service runs here without it",
    "git": "the address is the reader's",
    "cd": "a word to the shell",
    ".": "a word to the shell",
    "export": "a word to the shell",
    "npm": "the Makefile does it",
    "node": "needs RabbitMQ: tests/e2e/test_node_client.py",
    "python -m pytest": "of a service that the page makes: tests/e2e/test_startservice.py",
    "python -c": "run where it is read",
}
#: Blocks without a language are drawings.
DRAWN: Final = frozenset("─│└┌►▼")


def _is_elsewhere(block: Block) -> bool:
    return (block.page, block.language) in ELSEWHERE


def test_every_page_is_read() -> None:
    assert len(BLOCKS) > 100
    assert {block.page for block in BLOCKS} >= {"README.md", "CONTRIBUTING.md", "docs/testing.md"}


def test_every_language_has_its_test() -> None:
    known = {"python", "console", "json", "yaml", "js", "text", ""}
    assert [block.place for block in BLOCKS if block.language not in known] == []


@pytest.mark.parametrize(("page", "language"), ELSEWHERE)
def test_what_is_run_elsewhere_is_all_that_the_page_has(page: str, language: str) -> None:
    shown = [block.text for block in blocks_of(page) if block.language == language]
    taken = ELSEWHERE[page, language]
    assert shown
    assert [READ_AS.get(language, str)(text) for text in shown] == taken


@pytest.mark.parametrize("begins", ONLY_READ)
def test_what_is_only_read_is_on_a_page(begins: str) -> None:
    assert any(_begin(command, begins) for command in _commands())


def _commands() -> Iterator[Command]:
    for block in BLOCKS:
        if block.language == "console" and not _is_elsewhere(block):
            yield from commands_in(block)


def _begin(command: Command, begins: str) -> bool:
    words = command.of_manage or command.words
    return " ".join(words).startswith(begins) and words[0] == begins.split()[0]


def _is_only_read(command: Command) -> bool:
    return any(_begin(command, begins) for begins in ONLY_READ)


@pytest.fixture
def player(
    bus: Harness,
    request: pytest.FixtureRequest,
    site: Site,  # noqa: F811
    tmp_path: Path,
) -> Iterator[Player]:
    """Whoever plays the page, with what it takes for granted."""
    site.pages = {"/": web_page("All", "/a"), "/a": web_page("A")}
    with given_for(request.param, tmp_path) as given:
        player = Player(bus, request.param, given)
        player.instead["http://localhost:8000/"] = site.url("/")
        yield player


#: Those of which something runs here.
PLAYED: Final = [
    page
    for page in PAGES
    if any(
        block.language in {"console", "python"} and not _is_elsewhere(block)
        for block in blocks_of(page)
    )
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("player", PLAYED, indirect=True)
def test_what_a_page_shows_runs(player: Player) -> None:
    page = player.page
    text = path_of(page).read_text()
    for block in blocks_of(page):
        if block.language == "python" and not _is_elsewhere(block):
            player.run_python(block)
        elif block.language == "console":
            for command in commands_in(block):
                if _is_only_read(command):
                    programs.check(command, text)
                else:
                    player.run_command(command)
    if page in AFTERWARDS:
        AFTERWARDS[page](player)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "json"])
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "yaml"])
def test_yaml_is_that_of_prometheus(block: Block) -> None:
    """And the rules that it names lie beside the page."""
    config = yaml.safe_load(block.text)
    assert [name for name in config["rule_files"] if not (ROOT / "docs" / name).exists()] == []
    assert all(job["static_configs"][0]["targets"] for job in config["scrape_configs"])


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "js"])
def test_js_is_what_node_reads_and_uses_what_the_client_has(block: Block) -> None:
    """The service itself needs RabbitMQ: tests/e2e/test_node_client.py runs its longer form."""
    program = [require_node(), "--input-type=module"]
    imported = re.findall(r"^import .* from '\./bus\.js';$", block.text, re.MULTILINE)
    example = (ROOT / "clients/node/example.js").read_text()
    for call in re.findall(r"\b(?:Bus|bus)\.(\w+)\(", block.text):
        assert re.search(rf"\b(?:Bus|bus)\.{call}\(", example), call
    for arguments, text in ((["--check", "-"], block.text), ([], "".join(imported))):
        subprocess.run(
            [*program, *arguments],
            input=text,
            cwd=ROOT / "clients/node",
            text=True,
            check=True,
            capture_output=True,
        )


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.language])
def test_what_has_no_language_is_a_drawing(block: Block) -> None:
    assert set(block.text) & DRAWN


def test_what_is_only_printed_is_held_to_what_prints_it() -> None:
    """Below, and in tests/docs/test_reference.py."""
    pages = {block.page for block in BLOCKS if block.language == "text"}
    assert pages == {"docs/testing.md", "docs/reference/commands.md"}


def test_a_test_that_fails_says_what_the_page_shows(bus: Harness) -> None:
    (shown,) = (block.text for block in blocks_of("docs/testing.md") if block.language == "text")
    billing = ServiceCommunicator("billing")

    @billing.on_message("invoice.create", retry=RetryPolicy(immediate=1, delayed=0))
    def create_invoice(data: Any) -> None:
        raise ValueError("no money")

    bus.service(billing)
    bus.speaker("tester").send_to_service("ledger", "entry.add", {})
    bus.send("billing", "invoice.create", {"id": 7})
    with pytest.raises(AssertionError) as failed:
        assert bus.handled("invoice.create").once
    assert f"AssertionError: {failed.value}\n" == shown
