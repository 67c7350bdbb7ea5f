"""A service's own checks of what it depends on: run in the background, told with heartbeats."""

import inspect
import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from messaging.async_loop import run_coroutine
from messaging.clock import SYSTEM_CLOCK, Clock
from messaging.database_threads import close_database
from messaging.errors import ConfigurationError
from messaging.forking import no_fork_meanwhile

logger = logging.getLogger(__name__)

#: Every change of a result is a heartbeat more.
LEAST_SECONDS: Final = 1.0
#: Of one service; the registry takes no more from an instance.
MAX_CHECKS: Final = 100
MAX_NAME_LENGTH: Final = 100
MAX_TEXT_LENGTH: Final = 200


class Result(NamedTuple):
    """What a check came to."""

    is_ok: bool
    #: Why it failed, for people.
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as heartbeats carry it."""
        return {"ok": self.is_ok, "text": self.text}


@dataclass(slots=True)
class _Check:
    name: str
    function: Callable[[], Any]
    every_seconds: float
    #: Since when it runs; None: it does not.
    began_at: float | None = None
    #: Of the last run that ended.
    result: Result | None = None


class HealthChecks:
    """The checks of one service in one process, each on a thread of its own.

    So one that hangs keeps no other check up, and nothing else but the next fork of its process,
    once, for 5 seconds. They may use the database: the thread's connection is closed after each
    run, and a process does not fork meanwhile. Reading results never waits.

    Args:
        clock: time, for tests to move.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._checks: dict[str, _Check] = {}
        #: Set when the threads shall end; None: they have not been started.
        self._stopped: threading.Event | None = None
        #: Called, on a check's thread, when what it says has changed.
        self.on_change: Callable[[], None] = lambda: None

    def add(self, name: str, function: Callable[[], Any], every: float) -> None:
        """Have a function run as a check; see `ServiceCommunicator.health_check`.

        Raises:
            ConfigurationError: name, period or signature is not valid, the name is taken, or
                there are `MAX_CHECKS` already.
        """
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
            raise ConfigurationError(
                f"health_check: expected a name of 1 to {MAX_NAME_LENGTH} characters, got {name!r}"
            )
        if name in self._checks or not name.isprintable():
            raise ConfigurationError(
                f"health_check: expected a printable name that is not taken, got {name!r}"
            )
        if not every >= LEAST_SECONDS:
            raise ConfigurationError(
                f"health_check {name!r}: expected every {LEAST_SECONDS:g} s or more, got {every!r}"
            )
        try:
            inspect.signature(function).bind()
        except TypeError as exc:
            raise ConfigurationError(
                f"health_check {name!r}: expected a function without arguments, got {function!r}"
            ) from exc
        if len(self._checks) >= MAX_CHECKS:
            raise ConfigurationError(f"health_check {name!r}: there are {MAX_CHECKS} already")
        check = self._checks[name] = _Check(name, function, every)
        if self._stopped is not None:
            self._start(check, self._stopped)

    def start(self) -> None:
        """Run every check now, and again after each of its periods."""
        self._stopped = threading.Event()
        for check in self._checks.values():
            self._start(check, self._stopped)

    def stop(self) -> None:
        """Run none any more. Does not wait for those that are running."""
        if self._stopped is not None:
            self._stopped.set()
            self._stopped = None

    def results(self) -> dict[str, dict[str, Any]]:
        """Return what each check says now: ``{name: {"ok": bool, "text": str}}``.

        One that has been running for longer than its period has failed. One that has never ended,
        and has its time yet, is left out.
        """
        now = self._clock.monotonic()
        results = {check.name: _present(check, now) for check in list(self._checks.values())}
        return {name: result.to_json() for name, result in results.items() if result is not None}

    def _start(self, check: _Check, stopped: threading.Event) -> None:
        threading.Thread(
            target=self._repeat,
            args=(check, stopped),
            name=f"messaging-check-{check.name}",
            daemon=True,
        ).start()

    def _repeat(self, check: _Check, stopped: threading.Event) -> None:
        while not stopped.is_set():
            began_at = check.began_at = self._clock.monotonic()
            result = _run(check.function)
            is_late = self._clock.monotonic() - began_at > check.every_seconds
            before, check.result, check.began_at = check.result, result, None
            # What nobody has heard of yet is taken to be well.
            if is_late or result != (before or Result(is_ok=True)):
                logger.warning("health check %s: %s", check.name, result.text or "passed")
                self.on_change()
            stopped.wait(check.every_seconds)


def _present(check: _Check, now: float) -> Result | None:
    began_at = check.began_at
    overdue = 0.0 if began_at is None else (now - began_at) / check.every_seconds
    if overdue <= 1:
        return check.result
    # In steps that double: a text that is another one in every heartbeat would look like news.
    seconds = check.every_seconds * 2 ** math.floor(math.log2(overdue))
    return Result(is_ok=False, text=f"no result for {seconds:g} s")


def _run(function: Callable[[], Any]) -> Result:
    """Run a check once. Never raises."""
    try:
        # A child forked while SQLite's locks are held here could never use the database. Forks
        # wait for what hangs here once, not each time.
        with no_fork_meanwhile():
            try:
                said = function()
                if inspect.iscoroutine(said):
                    said = run_coroutine(said)
            finally:
                close_database()
    except (Exception, SystemExit) as exc:
        return Result(is_ok=False, text=_shown(f"{type(exc).__name__}: {exc}"))
    if said is None:
        return Result(is_ok=True)
    if not isinstance(said, str):
        said = f"expected None or a text from it, got {said!r}"
    return Result(is_ok=False, text=_shown(said) or "failed")


def _shown(text: str) -> str:
    """Return a text on one line, of characters that can be stored and shown."""
    line = " ".join(text.split())
    printable = "".join(char if char.isprintable() else "�" for char in line)
    return printable[:MAX_TEXT_LENGTH]
