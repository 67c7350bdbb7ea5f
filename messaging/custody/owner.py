"""Which process is at work on a row, and whether it still lives, as far as this host can tell."""

import functools
import os
import socket
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@functools.cache
def this_process() -> str:
    """Return ``host/boot/pid/start`` of this process."""
    return process(os.getpid())


def process(pid: int) -> str:
    """Return ``host/boot/pid/start`` of a process of this host."""
    return f"{_here()}/{pid}/{_start_of(pid)}"


def is_dead(owner: str) -> bool:
    """Return whether this process is known to be gone: of this host and boot, and not there.

    What runs elsewhere is never known to be gone; its lease tells. A wrong answer costs one more
    run, fenced by the run's token.
    """
    *here, pid, start = owner.split("/")
    return "/".join(here) == _here() and _start_of(int(pid)) != start


@functools.cache
def _here() -> str:
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    # The pid namespace: pids of another container on this host mean nothing here.
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}:{namespace}/{boot}"


def _start_of(pid: int) -> str:
    """Return when a process started, in ticks since boot; empty if there is none."""
    try:
        status = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    # Behind the command, which may hold anything, spaces and brackets included.
    fields = status.rpartition(")")[2].split()
    is_zombie = fields[0] in ("Z", "X")
    return "" if is_zombie else fields[19]


os.register_at_fork(after_in_child=this_process.cache_clear)
