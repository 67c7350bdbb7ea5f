"""Settings and commands as pages, from the code: ``python -m tests.support.reference_pages``."""

import argparse
import inspect
import os
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Final, NamedTuple

import django
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from messaging.config import MessagingConfig
from tests.support.processes import ROOT

FOLDER: Final = ROOT / "docs" / "reference"
SETTINGS: Final = FOLDER / "settings.md"
COMMANDS: Final = FOLDER / "commands.md"

#: Headings of the settings, by the first of each group in the code.
_GROUPS: Final = {
    "broker_url": "Broker and names",
    "signing_keys": "Signatures",
    "heartbeat_seconds": "Registry and health",
    "http_timeout_seconds": "HTTP",
    "request_timeout_seconds": "Sending and asking",
    "check_sends": "Contracts",
    "worker_pool": "Workers",
    "telemetry": "Traces",
    "receipt_timeout_seconds": "Custody and retries",
    "lease_seconds": "Of one kind of broker",
}
_SETTINGS_HEAD: Final = """# Settings

In a Django project settings are the dict `MESSAGING`; keys may be written in any case. An unknown
key (with the nearest one that there is), a value of the wrong kind and a contradiction between two
settings end the program with one line. With this repository's own settings module each is also
`MESSAGING_<KEY>` in the environment, such as `MESSAGING_WORKER_CONCURRENCY=16`. Durations are
seconds. This page is written from `messaging/config.py`
(`python -m tests.support.reference_pages`), and a test holds it to that.

The environment has further names, read by `gateway_app/settings.py` alone:

| variable | default | |
|---|---|---|
| `BROKER_URL` | `sqlite:///<VAR_DIR>/broker.sqlite3` | `broker_url` below |
| `DATABASE_URL` | `sqlite:///<VAR_DIR>/gateway.sqlite3` | or `postgres://…` |
| `VAR_DIR` | `var` | files of the default installation |
| `LOG_FORMAT` | `line` | `json`: one object a line, [log events](../log_events.md) |
| `GATEWAY_PORT`, `FLOWER_PORT` | 8000, 5555 | |
| `FLOWER_URL` | on this host | where browsers find Flower |
| `FLOWER_BASIC_AUTH` | made by `make run` | `user:password` of Flower |
| `DJANGO_SETTINGS_MODULE` | `gateway_app.settings` | |
| `NOTIFY_SOCKET` | given by systemd | `notify_socket` below |
| `DJANGO_DEBUG` and others | for a laptop | [the way to production](../production.md) |
"""
_SETTINGS_FOOT: Final = """
## In Python

::: messaging.MessagingConfig
    options:
      heading_level: 3
      show_signature: false
      members:
        - from_mapping
"""

#: Which commands are told of together.
_CHAPTERS: Final = {
    "Saying something": ("bus_send", "bus_request", "bus_broadcast", "bus_recurring"),
    "Looking": (
        *("bus_services", "bus_top", "bus_account", "bus_explain", "bus_dead_letters"),
        "bus_doctor",
    ),
    "Dead letters": (
        *("bus_replay", "bus_replay_runs", "bus_discard", "bus_edit", "bus_note"),
        "bus_resolve",
    ),
    "Services": ("bus_pause", "bus_resume", "bus_maintenance", "bus_contracts", "bus_token"),
    "Installation": ("bus_relay", "bus_backup", "bus_restore", "bus_conformance"),
    "In a clone of the repository": ("startservice", "run_stack", "demo"),
}
_COMMANDS_HEAD: Final = """# Commands

`python manage.py NAME …` in a clone of the repository or in a project that hosts the gateway
([adoption.md](../adoption.md)); a project with `messaging` alone has `bus_contracts`. What goes
wrong is one line on stderr. Exit codes: 0 done, 1 the bus could not do it, 2 wrong input or setup,
130 Ctrl-C. Where there is `--json`, it is all that is printed. This page is written from the
commands (`python -m tests.support.reference_pages`), and a test holds it to that.
"""


#: What is code in a comment or in a help, without being marked there.
_CODE: Final = re.compile(
    r"(?<![\w`/])(--[a-z-]+|/[\w./{}*]+|[A-Z]+_[A-Z_]+|bus_\w+(?: --[a-z-]+)?|mbus_)(?![\w`])"
)
_WIDTH: Final = 76


class Setting(NamedTuple):
    """One key of ``MESSAGING``, as the code has it."""

    name: str
    kind: str
    default: str
    text: str
    #: Whether an empty line is before it.
    begins_group: bool


def settings_page() -> str:
    """Return the page of all settings."""
    lines = [_SETTINGS_HEAD]
    for each in _settings():
        if each.begins_group:
            lines.append(f"\n## {_GROUPS[each.name]}\n\n| key | default | |\n|---|---|---|\n")
        lines.append(f"| `{each.name}` | {each.default} | {each.text} |\n")
    return "".join(lines) + _SETTINGS_FOOT


def commands_page() -> str:
    """Return the page of all commands.

    Raises:
        KeyError: a command is in no chapter.
    """
    apps = {
        name: app for name, app in get_commands().items() if app in ("gateway_app", "messaging")
    }
    missing = set(apps) - {name for names in _CHAPTERS.values() for name in names}
    if missing:
        raise KeyError(f"in no chapter: {missing}")
    text = _COMMANDS_HEAD
    for chapter, names in _CHAPTERS.items():
        text += f"\n## {chapter}\n"
        text += "".join(_of_command(name, load_command_class(apps[name], name)) for name in names)
    return text


def _settings() -> Iterator[Setting]:
    source = inspect.getsource(MessagingConfig).splitlines()
    defaults = {each.name: each.default for each in fields(MessagingConfig)}
    text, begins_group = "", True
    comment: list[str] = []
    for line in map(str.strip, source):
        declared = re.match(r"(\w+): (str|int|float)\b", line)
        if not line:
            begins_group = True
        elif line.startswith("#:"):
            comment.append(line.removeprefix("#:").strip())
        elif declared is not None:
            name = declared[1]
            # Without a comment of its own it is in that of the one before.
            text = _markdown(" ".join(comment)) or "likewise"
            default = defaults[name]
            shown = "" if default is MISSING else f"`{default!r}`".replace("`''`", "empty")
            shown = shown.replace(",", ", ")  # a line of words may be broken
            yield Setting(name, declared[2], shown.replace("'", '"'), text, begins_group)
            comment, begins_group = [], False


def _of_command(name: str, command: BaseCommand) -> str:
    parser = command.create_parser("manage.py", name)
    text = f"\n### {name}\n\n{_markdown(command.help)}\n"
    return text + "".join(_of_parser(name, parser))


def _of_parser(path: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    own = [each for each in parser._actions if not _is_of_django(each)]
    verbs = [each for each in own if isinstance(each, argparse._SubParsersAction)]
    rows = [each for each in own if each not in verbs]
    if not verbs:
        words = [f"manage.py {path}", *map(_usage, _positionals_last(rows))]
        yield f"\n```text\n{_wrapped(words)}\n```\n"
    if rows:
        yield "\n| argument | |\n|---|---|\n"
        yield from (f"| {_named(each)} | {_told(each)} |\n" for each in rows)
    for verb in verbs:
        helps = {each.dest: each.help or "" for each in verb._choices_actions}
        for word, below in verb.choices.items():
            yield f"\n**{path} {word}**: {_markdown(helps.get(word, ''))}\n"
            yield from _of_parser(f"{path} {word}", below)


def _wrapped(words: list[str]) -> str:
    """Return words as lines that a page has room for, none of them cut."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) >= _WIDTH:
            lines.append("     ")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\n".join(lines)


def _positionals_last(rows: list[argparse.Action]) -> list[argparse.Action]:
    return sorted(rows, key=lambda each: not each.option_strings)


def _is_of_django(action: argparse.Action) -> bool:
    return bool(set(action.option_strings) & _OF_DJANGO)


def _usage(action: argparse.Action) -> str:
    value = _value(action)
    if not action.option_strings:
        return f"[{value}]" if action.nargs == "?" else value
    option = f"{max(action.option_strings, key=len)} {value}".strip()
    return option if action.required else f"[{option}]"


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.metavar is None and action.choices is not None:
        return "NAME" if action.option_strings else action.dest.upper()
    return str(action.metavar or action.dest.upper())


def _named(action: argparse.Action) -> str:
    value = _value(action)
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(f"`{option} {value}`".replace(" `", "`") for option in action.option_strings)


def _told(action: argparse.Action) -> str:
    text = _markdown(action.help or "")
    if action.choices is not None and not isinstance(action, argparse._SubParsersAction):
        text += f"{': ' if text else ''}{', '.join(f'`{each}`' for each in action.choices)}"
    has_default = action.default not in (None, False, argparse.SUPPRESS, "") and action.nargs != 0
    return f"{text} (default: `{action.default}`)" if has_default else text


def _markdown(text: str) -> str:
    """Return the text of a comment or of a help, as a cell of a table may have it."""
    text = " ".join(text.replace("``", "`").split())
    parts = re.split(r"(`[^`]*`)", text)
    marked = (part if part[:1] == "`" else _CODE.sub(r"`\1`", part) for part in parts)
    return "".join(marked).replace("|", "\\|")


_OF_DJANGO: Final = {
    option
    for action in BaseCommand().create_parser("manage.py", "x")._actions
    for option in action.option_strings
}


def main() -> None:
    """Write both pages."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_app.settings")
    django.setup()
    SETTINGS.write_text(settings_page())
    COMMANDS.write_text(commands_page())


if __name__ == "__main__":
    main()
