"""Writes a new service: its folder, its test, its line in the Procfile; all of it or nothing."""

import importlib.util
import keyword
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.template import Context, Engine

TEMPLATE: Final = Path(__file__).parent / "service_template"
#: Ending of templates, so that no tool takes them for Python; as Django's own have it.
_ENDING: Final = "-tpl"
_TEST: Final = "test.py-tpl"
#: Lines with the name in them stay within what the formatter allows.
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
MAX_NAME_LENGTH: Final = 20


class NotWritten(Exception):
    """The service cannot be written, for the reason in the text. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class NewService:
    """A service that is to be written into a clone of the repository."""

    root: Path
    #: Of its folder: ``free_zones``.
    name: str

    @property
    def service(self) -> str:
        """Its name on the bus: ``free-zones-service``."""
        return f"{self._path}-service"

    @property
    def topic(self) -> str:
        """What its message types begin with: ``free.zones``."""
        return self.name.replace("_", ".")

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.root / "services" / self.name

    @property
    def test(self) -> Path:
        """Its test."""
        return self.root / "tests" / "unit" / "services" / f"test_{self.name}.py"

    @property
    def _path(self) -> str:
        return self.name.replace("_", "-")

    def write(self) -> None:
        """Write the service; it runs, passes its test, and is part of ``make run``.

        Raises:
            NotWritten: the name cannot be taken, or this is no clone of the repository.
            OSError: a file cannot be written. What was there before is as it was.
        """
        self._require_name()
        procfile = self.root / "Procfile"
        if not (procfile.is_file() and self.folder.parent.is_dir() and self.test.parent.is_dir()):
            raise NotWritten(
                f"expected Procfile, services/ and tests/unit/services/ in {self.root}, and they "
                "are not all there; run this in a clone of the repository"
            )
        for path in (self.folder, self.test):
            if path.exists():
                raise NotWritten(f"{path} exists already; choose another name")
        # On the same disk as the real places, so that each move is one step.
        with tempfile.TemporaryDirectory(prefix=".new-service-", dir=self.root) as made:
            draft, test, lines = Path(made) / self.name, Path(made) / "test", Path(made) / "lines"
            draft.mkdir()
            for template in sorted(TEMPLATE.glob(f"*{_ENDING}")):
                place = test if template.name == _TEST else draft / template.name[: -len(_ENDING)]
                place.write_text(self._render(template))
            lines.write_text("".join(self._with_process(procfile.read_text())))
            shutil.copymode(procfile, lines)
            with ExitStack() as undo:
                draft.rename(self.folder)
                undo.callback(shutil.rmtree, self.folder)
                test.rename(self.test)
                undo.callback(self.test.unlink)
                lines.replace(procfile)
                undo.pop_all()

    def _require_name(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.name) > MAX_NAME_LENGTH:
            raise NotWritten(
                "NAME: expected small letters, digits and single _ between them, at most "
                f"{MAX_NAME_LENGTH}, such as billing, got {self.name!r}"
            )
        if keyword.iskeyword(self.name):
            raise NotWritten(f"NAME: {self.name} is a keyword of Python; choose another name")
        if self.folder.exists():
            raise NotWritten(f"{self.folder} exists already; choose another name")
        if importlib.util.find_spec(self.name) is not None:
            raise NotWritten(
                f"NAME: {self.name} is a Python module already; choose another name, "
                f"such as {self.name}_desk"
            )

    def _render(self, template: Path) -> str:
        known = {
            "name": self.name,
            "service": self.service,
            "topic": self.topic,
            "path": self._path,
        }
        engine = Engine(autoescape=False)
        return engine.from_string(template.read_text()).render(Context(known, autoescape=False))

    def _with_process(self, procfile: str) -> Iterator[str]:
        """Yield the lines of the Procfile, the new worker after the last of the others."""
        lines = procfile.splitlines(keepends=True)
        workers = [number for number, line in enumerate(lines) if "celery -A services." in line]
        place = workers[-1] + 1 if workers else len(lines)
        yield from lines[:place]
        yield f"{self.service}: celery -A services.{self.name} worker\n"
        yield from lines[place:]
