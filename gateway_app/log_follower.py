"""Shows what is written to several log files, each line under the name of its process."""

from collections.abc import Iterator, Mapping
from pathlib import Path


class LogFollower:
    """Reads what is added to log files from the moment it is made.

    Args:
        files: log file of each process.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._positions = {name: file.stat().st_size for name, file in files.items()}
        self._width = max(map(len, files))

    def new_lines(self) -> Iterator[str]:
        """Yield every line that was completed since the last call, process by process."""
        for name, file in self._files.items():
            with file.open("rb") as log:
                log.seek(self._positions[name])
                # Half a line stays for the next call.
                text, newline, _ = log.read().rpartition(b"\n")
            self._positions[name] += len(text) + len(newline)
            for line in text.decode(errors="replace").splitlines():
                yield f"{name.ljust(self._width)} | {line}"
