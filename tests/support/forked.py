"""Python programs in processes forked from one that has the libraries loaded.

Imports of libraries are three quarters of the processor time of a start. A forked process has
them; all else is as in one that was started anew: session, environment, output, signals, end.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import uuid
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from tests.support.processes import ROOT, Process, Program
from tests.support.waiting import eventually

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.support.preloaded"])


class ForkedProcess(Process):
    """Its command is a console script; or `python` with -m and a module, or with a file."""

    def _begin(self, command: Sequence[str], env: dict[str, str]) -> Program:
        return _Forked(command, env, self.log)


def run(
    *command: str, env: dict[str, str], folder: Path, text: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a command as of `ForkedProcess` to its end; like `subprocess.run` with all captured.

    Two files in the folder, of names of their own, take its output while it runs.
    """
    name = folder / f"run-{uuid.uuid4().hex}"
    given, output, errors = (Path(f"{name}.{end}") for end in ("in", "out", "err"))
    given.write_text(text)
    code = _Forked(command, env, output, errors, given).wait()
    return subprocess.CompletedProcess(command, code, output.read_text(), errors.read_text())


class _Forked:
    def __init__(
        self,
        command: Sequence[str],
        env: dict[str, str],
        output: Path,
        errors: Path | None = None,
        given: Path | None = None,
    ) -> None:
        streams = (str(given or os.devnull), str(output), str(errors or output))
        self._command = command
        # Made here, so that whoever started it can read it from the beginning.
        output.touch()
        self._process = _context.Process(target=_become, args=(tuple(command), env, streams))
        self._process.start()
        assert self._process.pid
        self.pid: int = self._process.pid
        # As after a start: from here on a signal to its session reaches it.
        eventually(self._is_apart)

    def _is_apart(self) -> bool:
        try:
            return self.poll() is not None or os.getpgid(self.pid) == self.pid
        except ProcessLookupError:  # it has ended, and its exit code is on the way
            return True

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            assert timeout
            raise subprocess.TimeoutExpired(self._command, timeout)
        return self._process.exitcode


def _become(command: Sequence[str], env: dict[str, str], streams: tuple[str, str, str]) -> None:
    """Be this program from here on, in a session of its own, to its end."""
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(env)
    sys.path += [
        path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path
    ]
    for number, path in enumerate(streams):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY
        os.dup2(os.open(path, flags, 0o644), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process
    try:
        _run(list(command))
    finally:
        # What a started program does at its end, and a child of multiprocessing leaves out.
        atexit._run_exitfuncs()


def _run(command: list[str]) -> None:
    program, *arguments = command
    if program != "python":
        sys.argv = command
        (script,) = metadata.entry_points(group="console_scripts", name=program)
        sys.exit(script.load()())
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
