"""A disk of a few megabytes that can be filled, and a read-only view of it: mounts of one test."""

import errno
import os
import subprocess
from pathlib import Path
from typing import Self

import pytest

_BLOCK = b"\0" * 65_536


class SmallDisk:
    """Mounted at a folder of its own from enter to exit; whoever still uses it then loses it."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        self._size = f"size={megabytes}m"

    def __enter__(self) -> Self:
        """Mount it; skip where nobody may, and fail where nothing may be left out."""
        self.folder.mkdir()
        done = _run("mount", "-t", "tmpfs", "-o", self._size, "tmpfs", str(self.folder))
        if done.returncode:
            text = f"no disk can be mounted: run this as root, or in `unshare -rm` ({done.stderr})"
            if os.environ.get("REQUIRE_BROKERS") == "1":
                pytest.fail(text)
            pytest.skip(text)
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", str(self.folder)).check_returncode()

    def fill(self) -> None:
        """Leave no byte free."""
        with self._filler.open("ab", buffering=0) as file:
            size = len(_BLOCK)
            while size:
                try:
                    file.write(_BLOCK[:size])
                except OSError as exc:
                    if exc.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink()


class ReadOnlyView:
    """The files of a folder in a second place, where they can only be read until `allow_writing`.

    Where a file is open for writing, its disk cannot be made read-only: so this is for processes
    that are started later.
    """

    def __init__(self, folder: Path, of: Path) -> None:
        self.folder = folder
        self._of = of

    def __enter__(self) -> Self:
        self.folder.mkdir()
        _run("mount", "--bind", str(self._of), str(self.folder)).check_returncode()
        _run("mount", "-o", "remount,bind,ro", str(self.folder)).check_returncode()
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", str(self.folder)).check_returncode()

    def allow_writing(self) -> None:
        _run("mount", "-o", "remount,bind,rw", str(self.folder)).check_returncode()


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False)
