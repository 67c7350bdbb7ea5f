"""Restarts the processes of a stack whose source files change, and no others."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from watchfiles import Change, DefaultFilter, watch

from gateway_app.stack import Stack

#: What every process has imported.
EVERYWHERE: Final = ("messaging", "gateway_app")
_ENDINGS: Final = (".py", ".html")


class _Sources(DefaultFilter):
    """Files that a process reads once: code and templates."""

    def __call__(self, change: Change, path: str) -> bool:
        return path.endswith(_ENDINGS) and super().__call__(change, path)


class Reloading:
    """Restarts what has changed, as often as somebody calls `look`.

    Args:
        stack: whose processes.
        root: of the source files.
        say: told what happens, in one line.
        look_seconds: how long one look waits for changes.
    """

    def __init__(
        self, stack: Stack, root: Path, say: Callable[[str], object], look_seconds: float
    ) -> None:
        self._stack = stack
        self._root = root
        self._say = say
        tops = {process.entry.app.partition(".")[0] for process in stack.processes.values()}
        folders = (root / name for name in {*EVERYWHERE, *tops} - {""})
        self._changes = watch(
            *(folder for folder in folders if folder.is_dir()),
            watch_filter=_Sources(),
            rust_timeout=int(1000 * look_seconds),
            yield_on_timeout=True,
        )
        next(self._changes)  # it watches from now on

    def look(self) -> None:
        """Wait a moment for changes; restart, with TERM, what they are about.

        A restarted process that ends with an error is left alone until the next change.
        """
        for name in self._stack.fallen():
            code = self._stack.processes[name].exit_code
            self._say(
                f"{name} ended with exit code {code} (see its lines above); "
                "it is started again when its files change"
            )
        changed = sorted(Path(path) for _, path in next(self._changes))
        names = concerned(self._stack, [path.relative_to(self._root) for path in changed])
        if names:
            shown = changed[0].relative_to(self._root)
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            self._say(f"{shown}{more} changed: starting again {', '.join(names)}")
            self._stack.restart(*names)


def concerned(stack: Stack, changed: Iterable[Path]) -> list[str]:
    """Return the processes that have read one of these files, named from the root."""
    names: set[str] = set()
    for path in changed:
        top, *below = path.parts
        if top in EVERYWHERE:
            return list(stack.processes)
        for name, process in stack.processes.items():
            app = process.entry.app.split(".")
            # What lies in services/ itself concerns each of them.
            if app[0] == top and (len(below) == 1 or app[1:2] == below[:1]):
                names.add(name)
    return sorted(names)
