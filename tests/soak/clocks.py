"""Wall clocks that can be set, one for each process; monotonic clocks go on as they are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).with_name("wall_clock.c")
_COMPILERS: Final = ("cc", "gcc", "clang")


class Clocks:
    """The offsets of processes' wall clocks, in files that the processes have mapped.

    Args:
        folder: for the library and the offsets; made here, new.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        library = folder / "wall_clock.so"
        #: Why no clock can be set; empty: they can.
        self.obstacle = _build(library)
        self._library = library

    def environment(self, name: str) -> dict[str, str]:
        """Return what a process of that name is started with to have a clock of its own."""
        if self.obstacle:
            return {}
        path = self._folder / f"{name}.offset"
        if not path.exists():
            _write(path, 0)
        return {"LD_PRELOAD": str(self._library), "SOAK_CLOCK": str(path)}

    def set(self, name: str, seconds: int) -> None:
        """Have the clock of a process be so far ahead, now and when it is started again."""
        _write(self._folder / f"{name}.offset", seconds)


def _write(path: Path, seconds: int) -> None:
    # In place and in one go: the processes have mapped this very file.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, seconds.to_bytes(8, sys.byteorder, signed=True), 0)
    finally:
        os.close(descriptor)


def _build(library: Path) -> str:
    """Compile the library; return why that is not possible, or nothing."""
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        return "a clock of its own for each process takes a C compiler: apt-get install gcc"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"a clock of its own for each process cannot be compiled: {done.stderr[-300:]}"
    return ""
