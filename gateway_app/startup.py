"""How programs that are set up wrong end: with one line that says what to mend, and exit code 2.

The settings end the program themselves, so it is the same line whatever was started:
`manage.py`, `celery`, `uvicorn`, or a program of one's own.
"""

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

from messaging.brokers import profile_for
from messaging.config import MessagingConfig
from messaging.databases import database_at
from messaging.errors import ConfigurationError, MessagingError

P = ParamSpec("P")
R = TypeVar("R")

FAILED: Final = 1
WRONG_SETUP: Final = 2
_YES: Final = ("1", "true", "yes", "on")
_NO: Final = ("0", "false", "no", "off")


def end(text: str) -> NoReturn:
    """End the program with one line on stderr and exit code 2."""
    sys.stderr.write(f"Set up wrong: {' '.join(text.split())}\n")
    raise SystemExit(WRONG_SETUP)


def ends_the_program(function: Callable[P, R]) -> Callable[P, R]:
    """Have a `ConfigurationError` of the function end the program with its text."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except ConfigurationError as exc:
            end(str(exc))

    return wrapped


@ends_the_program
def folder(name: str, path: Path) -> Path:
    """Return the absolute path of a folder that can be written to, made (0700) if missing."""
    path = path.resolve()
    mend = f"set {name} to a folder that this user may write to"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(
            f"{name}: {path} cannot be made ({exc.strerror}); {mend}"
        ) from exc
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{name}: {path} cannot be written to; {mend}")
    return path


@ends_the_program
def port(name: str, text: str) -> int:
    """Return the TCP port that the text names."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65_536):
        raise ConfigurationError(
            f"{name}: expected a TCP port from 1 to 65535, got {text!r}; "
            f"set {name} right or leave it out"
        )
    return int(text)


@ends_the_program
def whole_number(name: str, text: str) -> int:
    """Return the number that the text says, not below 0."""
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise ConfigurationError(
            f"{name}: expected a whole number, got {text!r}; set {name} right or leave it out"
        )
    return int(text)


@ends_the_program
def flag(name: str, text: str, *, default: bool) -> bool:
    """Return whether the text says yes; the default where it is empty."""
    word = text.strip().lower()
    if word and word not in (*_YES, *_NO):
        raise ConfigurationError(f"{name}: expected 1 or 0, got {text!r}; set {name} right")
    return word in _YES if word else default


@ends_the_program
def one_of(name: str, text: str, *known: str) -> str:
    """Return the text, which is one of those that are known."""
    if text not in known:
        wanted = " or ".join(known)
        raise ConfigurationError(
            f"{name}: expected {wanted}, got {text!r}; set {name} right or leave it out"
        )
    return text


@ends_the_program
def database(url: str) -> dict[str, Any]:
    """Return Django's settings of the database at a URL, which is not shown: it has a password."""
    return database_at(url, "DATABASE_URL")


@ends_the_program
def messaging(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return these settings of the message bus, which are all valid."""
    try:
        profile_for(MessagingConfig.from_mapping(settings).broker_url)
    except ConfigurationError as exc:
        if str(exc).startswith("BROKER_URL"):
            raise ConfigurationError(f"{exc}; set BROKER_URL right") from exc
        raise ConfigurationError(
            f"{exc}; in the environment it is MESSAGING_ and the name in capitals"
        ) from exc
    return dict(settings)


def messaging_names() -> frozenset[str]:
    """Return the names that settings of the message bus have in the environment."""
    return frozenset(f"MESSAGING_{field.name.upper()}" for field in fields(MessagingConfig))


def run_command(arguments: Sequence[str]) -> None:
    """Run a management command; an error that has no line of its own ends it in one.

    Exit code 2 where the setup is wrong, 1 where broker or database did not do their part. With
    ``--traceback`` errors come as they are.
    """
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError

    try:
        execute_from_command_line(list(arguments))
    except (MessagingError, ImproperlyConfigured, DatabaseError) as exc:
        if "--traceback" in arguments:
            raise
        if isinstance(exc, (ConfigurationError, ImproperlyConfigured)):
            end(str(exc))
        sys.stderr.write(f"{' '.join(str(exc).split())} (manage.py bus_doctor says more)\n")
        raise SystemExit(FAILED) from None
