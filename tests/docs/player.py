"""Does what a page shows, block by block: its services and its commands, in one harness."""

import ast
import importlib
import inspect
import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from asgiref.sync import async_to_sync
from django.core.management import call_command

import gateway_app.handlers  # noqa: F401 - what the gateway does with messages
from gateway_app.bus import communicator as gateway_communicator
from gateway_app.http.application import Gateway
from gateway_app.http.routing import RoutingCache
from messaging import ServiceCommunicator
from messaging.testing import Harness
from tests.docs.blocks import Block
from tests.docs.console import Command
from tests.support.processes import ROOT

#: What is another one each time: an id, whole or cut short, and anything at all.
_VARIES: Final = re.compile(r"(?P<id>[0-9a-f]{4,}…|(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f]))|…")


@dataclass(kw_only=True)
class Given:
    """What a page takes for granted."""

    names: dict[str, Any] = field(default_factory=dict)
    #: Services that run from the start.
    services: tuple[ServiceCommunicator, ...] = ()
    #: Where the files are that blocks show parts of.
    folder: Path = ROOT
    #: What a block of Python runs within, by its number among those.
    around: dict[int, Callable[["Player"], AbstractContextManager[None]]] = field(
        default_factory=dict
    )
    #: What stands for words, or beginnings of addresses, in commands of another machine. Nothing:
    #: the word is left out. ``ID`` is the last message's.
    instead: dict[str, str] = field(default_factory=dict)


class Player:
    """Plays one page: what its blocks define stays for those after them.

    Args:
        bus: where its services run, with the gateway's own handlers.
        page: which.
        given: what it takes for granted.
    """

    def __init__(self, bus: Harness, page: str, given: Given) -> None:
        self.bus = bus
        self.page = page
        self.names: dict[str, Any] = {"__name__": "page", **given.names}
        self.instead = dict(given.instead)
        self._folder = given.folder
        self._around = given.around
        self._count = 0
        self._served: set[int] = set()
        bus.service(gateway_communicator)
        self.serve(*given.services)

    def serve(self, *services: ServiceCommunicator) -> None:
        """Run services that do not run yet, and have all of them say what they offer by now."""
        for communicator in services:
            if id(communicator) not in self._served:
                self._served.add(id(communicator))
                self.bus.service(communicator)
            communicator.presence._register()
        self.bus.settle()

    def run_python(self, block: Block) -> None:
        """Run a block, the services that it makes, and its tests.

        ``await`` may stand anywhere. Each test has a harness of its own. A block with a name is
        part of a file that is there by now, and not run again.
        """
        if block.name:
            assert block.text in (self._folder / block.name).read_text(), block.place
            return
        within = self._around.get(self._count, lambda _player: nullcontext())
        self._count += 1
        with within(self):
            self._run_python(block)

    def _run_python(self, block: Block) -> None:
        before = set(self.names)
        for statement in ast.parse("\n" * block.line + block.text).body:
            self._run_statement(ast.Module([statement], type_ignores=[]), block.page)
        self.serve(
            *(each for each in self.names.values() if isinstance(each, ServiceCommunicator))
        )
        for name in sorted(set(self.names) - before):
            if name.startswith("test_"):
                with Harness() as bus:
                    self.names[name](bus)

    def _run_statement(self, statement: ast.Module, page: str) -> None:
        code = compile(statement, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if not code.co_flags & inspect.CO_COROUTINE:
            exec(code, self.names)
            return

        async def run() -> None:
            await eval(code, self.names)

        async_to_sync(run)()

    def run_command(self, command: Command) -> None:
        """Run a command of ``manage.py`` or of curl, and look whether it prints what is shown."""
        if command.of_manage:
            said = io.StringIO()
            try:
                call_command(*self._here(command.of_manage), stdout=said)
            except SystemExit:
                assert command.output, f"{command.line} fails, and the page does not show it"
            printed = said.getvalue()
            if command.of_manage[0] == "startservice":
                new = importlib.import_module(f"services.{command.of_manage[1]}.handlers")
                self.serve(new.communicator)
        else:
            printed = self._curl(self._here(command.words[1:]))
        self.bus.settle()
        self._compare(command, printed)

    def _here(self, words: tuple[str, ...]) -> list[str]:
        meant = [self.instead.get(word, word) for word in words]
        if "ID" in meant:
            meant[meant.index("ID")] = self.bus.sent()[-1].message_id
        for shown, real in self.instead.items():
            if "/" in shown or "…" in shown:
                meant = [word.replace(shown, real) for word in meant]
        return [word for word in meant if word]

    def _compare(self, command: Command, printed: str) -> None:
        """Look for each line that is shown; ids that are shown stand for those from now on."""
        lines = [line.rstrip() for line in printed.splitlines()]
        for shown in command.output.splitlines():
            shown = re.sub(r"\s+#\s.*$", "", shown).rstrip()
            ids = [found["id"] for found in _VARIES.finditer(shown) if found["id"]]
            pattern, end = "", 0
            for found in _VARIES.finditer(shown):
                pattern += re.escape(shown[end : found.start()])
                pattern += "([0-9a-f-]+)" if found["id"] else ".*"
                end = found.end()
            pattern += re.escape(shown[end:])
            matches = [match for line in lines if (match := re.fullmatch(pattern, line))]
            assert matches, f"{command.line}: expected {shown!r} of\n{printed}"
            self.instead.update(zip(ids, matches[0].groups(), strict=True))

    def _curl(self, words: list[str]) -> str:
        method, url, content, headers, shows_head = "GET", "", None, {}, False
        while words:
            match words.pop(0):
                case "-X":
                    method = words.pop(0)
                case "-H":
                    name, _, value = words.pop(0).partition(":")
                    headers[name] = value.strip()
                case "-d":
                    content = words.pop(0)
                case "-i":
                    shows_head = True
                case word:
                    assert not url, word
                    url = word

        async def ask() -> httpx.Response:
            gateway = Gateway(gateway_communicator.bus.config, RoutingCache())
            async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway)) as client:
                try:
                    return await client.request(
                        method, f"http://{url}", content=content, headers=headers
                    )
                finally:
                    await gateway.close()

        response = async_to_sync(ask)()
        response.raise_for_status()
        if not shows_head:
            return response.text
        head = [f"HTTP/1.1 {response.status_code} {response.reason_phrase}"]
        head += [f"{name}: {value}" for name, value in response.headers.items()]
        return "\n".join([*head, "", response.text])
