"""What pages tell a reader to run that is not run here: whether it is there, and takes that."""

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from django.core.management import get_commands, load_command_class

from gateway_app.settings import KNOWN_ENVIRONMENT
from messaging import MessagingConfig
from messaging.brokers import profile_for
from messaging.databases import database_at
from tests.docs.console import Command
from tests.support.processes import ROOT

MAKEFILE: Final = (ROOT / "Makefile").read_text()
#: Of other programs, which read it themselves.
FOREIGN: Final = frozenset({"OTEL_EXPORTER_OTLP_ENDPOINT"})


def check(command: Command, page: str) -> None:
    """Raise AssertionError, or exit, where a command is not what its program takes.

    Args:
        command: one that is not run.
        page: the text of its page, which names files that the reader makes.
    """
    _know(command.environment)
    if command.of_manage:
        name, *arguments = command.of_manage
        load_command_class(get_commands()[name], name).create_parser("manage.py", name).parse_args(
            arguments
        )
        return
    program, *words = command.words
    assert program in _PROGRAMS, f"{command.line}: nobody here knows {program}"
    _PROGRAMS[program](words, page)


def _make(words: list[str], _: str) -> None:
    for word in words:
        name, is_value, _value = word.partition("=")
        expected = rf"\$\({name}\)" if is_value else rf"^{name}:.*## "
        assert re.search(expected, MAKEFILE, re.MULTILINE), f"make knows no {name}"


def _celery(words: list[str], page: str) -> None:
    assert words[0] == "-A"
    assert words[2] in {"worker", "beat", "flower"}
    name = words[1]
    if f"{name.replace('.', '/')}/celery.py" not in page:  # else the page has the reader make it
        assert importlib.import_module(f"{name}.celery").app


def _export(words: list[str], _: str) -> None:
    _know(dict(word.split("=", 1) for word in words))


def _know(environment: dict[str, str]) -> None:
    assert set(environment) <= KNOWN_ENVIRONMENT | FOREIGN
    for name, value in environment.items():
        if name == "BROKER_URL":
            profile_for(value)
        elif name == "DATABASE_URL":
            database_at(value, name)
        elif name.startswith("MESSAGING_") and "…" not in value:
            key = name.removeprefix("MESSAGING_")
            MessagingConfig.from_mapping({"broker_url": "sqlite:////broker", key: value})


def _python(words: list[str], page: str) -> None:
    match words:
        case ["-c", code]:
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        case ["-m", "pytest", test]:
            assert f"`{test}`" in page, f"{test}: the page does not say who writes it"
        case _:
            raise AssertionError(f"nobody here knows python {words}")


def _node(words: list[str], _: str) -> None:
    assert (ROOT / words[0]).is_file()


def _npm(words: list[str], _: str) -> None:
    assert words == ["ci"]
    assert (ROOT / "clients/node/package-lock.json").is_file()


def _cd(words: list[str], _: str) -> None:
    assert words == ["bus"] or (ROOT / words[0]).is_dir()


def _git(words: list[str], _: str) -> None:
    assert words == ["clone", "URL-OF-THIS-REPOSITORY", "bus"]


def _source(words: list[str], _: str) -> None:
    assert words == [".venv/bin/activate"]
    assert "VENV := .venv\n" in MAKEFILE


_PROGRAMS: Final[dict[str, Callable[[list[str], str], None]]] = {
    "make": _make,
    "celery": _celery,
    "export": _export,
    "python": _python,
    "node": _node,
    "npm": _npm,
    "cd": _cd,
    "git": _git,
    ".": _source,
}
