"""What a process and all that it started use, read from /proc.

What the harness starts leads a session of its own: whoever is in the session was started by it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
#: Places in /proc/PID/stat, counted from the state, which follows the name of the command.
_SESSION: Final = 3
_CPU_TICKS: Final = slice(11, 13)
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Of all processes together; what they share counts once for each in rss, once in pss."""

    rss_mb: float
    pss_mb: float


def cpu_seconds(session: int) -> float:
    """Return the CPU time, user and system, of the processes of a session that still live."""
    ticks = (int(each) for _, fields in _members(session) for each in fields[_CPU_TICKS])
    return sum(ticks) / _TICKS_PER_SECOND


def memory(session: int) -> Memory:
    """Return the memory that the processes of a session hold."""
    kilobytes = {"Rss": 0, "Pss": 0}
    for folder, _ in _members(session):
        for line in (folder / "smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in kilobytes:
                kilobytes[name] += int(rest.split()[0])
    return Memory(kilobytes["Rss"] / 1024, kilobytes["Pss"] / 1024)


def peak_mb(pid: int) -> float:
    """Return the most memory that one process has held since it started."""
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "VmHWM":
            return int(rest.split()[0]) / 1024
    return 0.0


def _members(session: int) -> Iterator[tuple[Path, list[str]]]:
    for folder in _PROC.glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended since it was listed
        # Behind the command, which may hold anything, spaces and brackets included.
        fields = status.rpartition(")")[2].split()
        if fields[_SESSION] == str(session):
            yield folder, fields
