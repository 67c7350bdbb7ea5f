"""The Procfile: the one list of the processes that make up the system."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: As honcho and foreman read it.
_LINE: Final = re.compile(r"([A-Za-z0-9_-]+):\s*(.+)")
_APP: Final = re.compile(r"(?:celery\s+-A|uvicorn)\s+([\w.]+)")
_WORKER: Final = re.compile(r"celery\s.*\bworker\b")


@dataclass(frozen=True, slots=True)
class ProcfileEntry:
    """One process. A worker's process is named like its service."""

    name: str
    #: For a shell; may use environment variables.
    command: str

    @property
    def is_worker(self) -> bool:
        """Whether this is the worker of a service, which registers under the same name."""
        return _WORKER.match(self.command) is not None

    @property
    def app(self) -> str:
        """The module that it runs, such as ``services.user``; empty: none that is known."""
        found = _APP.match(self.command)
        return found[1] if found else ""


def read_procfile(path: Path) -> list[ProcfileEntry]:
    """Return the processes in their order.

    Raises:
        OSError: there is no such file.
    """
    lines = path.read_text().splitlines()
    return [ProcfileEntry(*match.groups()) for line in lines if (match := _LINE.fullmatch(line))]
