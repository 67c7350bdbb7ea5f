"""Does a worker of a service live, and does it consume? Asked by Kubernetes and by people.

    python -I -S messaging/probe.py live FOLDER SERVICE
    python -I -S messaging/probe.py ready FOLDER SERVICE

Exit code 0: yes; 1: no, with the reason in one line on stderr; 2: wrong arguments. ``FOLDER`` is
the workers' ``pulse_folder``. Asked about are all workers of the service whose processes this host
(or container) has; there must be one. It is started every few seconds, so it is run as a file and
imports next to nothing: no Django, no Celery, not even this package.
"""

import os
import sys
import time
from typing import Final, NamedTuple

#: A pulse this old, and the worker does not live: it was stopped, hangs, or its loop does not
#: turn. Seven times what a pulse takes to come.
LIVE_SECONDS: Final = 15.0

CONSUMING: Final = "consuming"
CONNECTING: Final = "connecting"
STOPPING: Final = "stopping"

_YES: Final = 0
_NO: Final = 1
_WRONG_INPUT: Final = 2


class Pulse(NamedTuple):
    """What a worker last wrote."""

    pid: int
    #: Start of the process, see `start_of`: a pid may be another's by now.
    start: str
    #: When, on CLOCK_MONOTONIC: the same for all processes of a host, containers included.
    at: float
    #: ``consuming``, ``connecting`` or ``stopping``.
    state: str

    def to_line(self) -> str:
        """Return it as the one line of its file."""
        return f"{self.pid} {self.start} {self.at:.3f} {self.state}\n"


def path_of(folder: str, service: str, pid: int) -> str:
    """Return where a worker writes its pulse."""
    return os.path.join(folder, f"{service}.{pid}")


def living(folder: str, service: str) -> list[Pulse]:
    """Return the pulses of a service's workers whose processes exist, stopped ones among them."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    # A service's name has no dots in it.
    found = [_read(os.path.join(folder, name)) for name in names if _is_of(name, service)]
    return [pulse for pulse in found if pulse is not None and start_of(pulse.pid) == pulse.start]


def start_of(pid: int) -> str:
    """Return when a process started, in ticks since boot; empty if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            status = file.read()
    except OSError:
        return ""
    # Behind the command, which may hold anything, spaces and brackets included.
    fields = status.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else fields[19]


def fault(question: str, folder: str, service: str) -> str:
    """Return why the answer is no; empty if it is yes.

    Args:
        question: ``live`` or ``ready``.
        folder: the workers' ``pulse_folder``.
        service: whose workers.
    """
    pulses = living(folder, service)
    if not pulses:
        return f"no worker of {service} runs here"
    for pulse in pulses:
        age = time.monotonic() - pulse.at
        if age > LIVE_SECONDS:
            return f"the worker with pid {pulse.pid} has had no pulse for {age:.0f} s"
        if question == "ready" and pulse.state != CONSUMING:
            return f"the worker with pid {pulse.pid} is {pulse.state}"
    return ""


def main(arguments: list[str]) -> int:
    """Answer, and return the exit code."""
    if len(arguments) != 3 or arguments[0] not in ("live", "ready"):
        sys.stderr.write("probe: expected live|ready FOLDER SERVICE\n")
        return _WRONG_INPUT
    found = fault(*arguments)
    if found:
        sys.stderr.write(f"probe: {found}\n")
    return _NO if found else _YES


def _is_of(name: str, service: str) -> bool:
    return name.rpartition(".")[0] == service and name.rpartition(".")[2].isdecimal()


def _read(path: str) -> Pulse | None:
    try:
        with open(path, encoding="utf-8") as file:
            pid, start, at, state = file.read().split()
    except FileNotFoundError:
        return None  # its worker has just ended
    return Pulse(int(pid), start, float(at), state)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
