"""The pulse of a worker: what probes and systemd are told of it.

A thread writes it every two seconds, as long as the worker lives: its event loop turns, or there
is none because the broker is away and the worker tries to reach it again. A worker that is
stopped, hangs, or whose loop stands still writes none. Nothing here needs broker or database.
"""

import logging
import os
import socket
import threading
from typing import Any, Final

from celery import bootsteps

from messaging.clock import SYSTEM_CLOCK
from messaging.config import MessagingConfig
from messaging.errors import ConfigurationError
from messaging.probe import (
    CONNECTING,
    CONSUMING,
    LIVE_SECONDS,
    STOPPING,
    Pulse,
    path_of,
    start_of,
)

logger = logging.getLogger(__name__)

PULSE_SECONDS: Final = 2.0
#: How often the event loop says that it turns.
_TURN_SECONDS: Final = 1.0


class PulseThread:
    """Writes the pulse of this process. One per worker.

    Args:
        config: says where to.
        service: whose worker this is.
    """

    def __init__(self, config: MessagingConfig, service: str) -> None:
        self._folder = config.pulse_folder
        self._service = service
        self._notify_socket = config.notify_socket
        self._state = CONNECTING
        self._turned_at = 0.0
        self._is_due = threading.Event()
        self._is_stopped = False
        self._pid = os.getpid()
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name="messaging-pulse", daemon=True)

    def start(self) -> None:
        """Begin. systemd takes the worker for started, whether or not there is a broker.

        Raises:
            ConfigurationError: the folder cannot be made or written, or systemd not be told; the
                worker must not run where nobody could see that it lives.
        """
        try:
            if self._folder:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
                self._sweep()
                self._write()
            self._notify("READY=1")
        except OSError as exc:
            raise ConfigurationError(
                f"MESSAGING['pulse_folder'] is {self._folder!r} and MESSAGING['notify_socket'] "
                f"{self._notify_socket!r}: expected what can be written to, got {exc}"
            ) from exc
        self._thread.start()

    def consuming(self) -> None:
        """Be ready from now on, as long as `turned` is called. On the event loop."""
        self.turned()
        self._change(CONSUMING)

    def turned(self) -> None:
        """Note that the event loop turns."""
        self._turned_at = SYSTEM_CLOCK.monotonic()

    def connecting(self) -> None:
        """The broker is gone and the loop with it: alive, not ready."""
        if self._state != STOPPING:
            self._change(CONNECTING)

    def stopping(self) -> None:
        """Handlers in hand are finished: alive as long as that takes, not ready."""
        self._change(STOPPING)

    def stop(self) -> None:
        """Write no more, and leave nothing behind. Idempotent."""
        if not self._thread.is_alive():
            return
        self._is_stopped = True
        self._is_due.set()
        self._thread.join(PULSE_SECONDS)
        if self._folder:
            _remove(path_of(self._folder, self._service, self._pid))

    def _change(self, state: str) -> None:
        self._state = state
        self._is_due.set()

    def _run(self) -> None:
        while True:
            self._is_due.wait(PULSE_SECONDS)
            self._is_due.clear()
            if self._is_stopped:
                return
            try:
                self._tell()
            except OSError as exc:
                # A full disk: the probe finds the pulse too old, if this lasts.
                if str(exc) != self._failure:
                    logger.warning("%s cannot tell that it lives: %s", self._service, exc)
                self._failure = str(exc)
            else:
                self._failure = ""

    def _tell(self) -> None:
        if self._state == STOPPING:
            self._notify("STOPPING=1")
        elif self._is_stuck():
            return
        if self._folder:
            self._write()
        self._notify(f"WATCHDOG=1\nSTATUS={self._state}")

    def _is_stuck(self) -> bool:
        age = SYSTEM_CLOCK.monotonic() - self._turned_at
        return self._state == CONSUMING and age > LIVE_SECONDS / 2

    def _write(self) -> None:
        path = path_of(self._folder, self._service, self._pid)
        pulse = Pulse(self._pid, start_of(self._pid), SYSTEM_CLOCK.monotonic(), self._state)
        # Beside and renamed: a probe never reads half of it.
        written = f"{path}.new"
        with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(pulse.to_line())
        os.replace(written, path)

    def _sweep(self) -> None:
        """Remove what workers of this service left that were killed.

        By the processes that there are, not by what they have written: another worker that starts
        now may be about to.
        """
        for name in os.listdir(self._folder):
            service, _, pid = name.removesuffix(".new").rpartition(".")
            if service == self._service and pid.isdecimal() and not start_of(int(pid)):
                _remove(os.path.join(self._folder, name))

    def _notify(self, text: str) -> None:
        """Tell systemd, where it has started this worker."""
        if not self._notify_socket:
            return
        # A name that begins with @ is of Linux's abstract namespace.
        address = self._notify_socket.replace("@", "\0", 1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
            told.settimeout(PULSE_SECONDS)
            told.sendto(text.encode(), address)


class PulseStep(bootsteps.StartStopStep):
    """Tells the pulse when the worker begins to consume, and when it lost its broker."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, c: Any) -> None:
        """Consuming begins; Celery cancels the timer when the connection is lost."""
        c.controller.pulse.consuming()
        c.timer.call_repeatedly(_TURN_SECONDS, c.controller.pulse.turned)

    def stop(self, c: Any) -> None:
        """The connection is lost, or the worker ends."""
        c.controller.pulse.connecting()


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return  # somebody else swept it
