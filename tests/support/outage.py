"""Taking a broker away, and emptying it."""

import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from kombu import Connection

from messaging.clock import SYSTEM_CLOCK
from tests.support.installation import Installation


class Proxy:
    """A TCP port that forwards to another one until it is cut, and again when it is mended."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._may_answer = threading.Event()
        self._may_answer.set()
        #: That everything takes on its way, in both directions, from now on.
        self.delay_seconds = 0.0
        self._listen()

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        with contextlib.suppress(OSError):
            # Closing alone leaves the thread in `accept`, and lets one more client in.
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def silence(self) -> None:
        """Drop, for good, what the server says; what clients say goes on."""
        self._may_answer.clear()

    def mend(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._listen()

    def _listen(self) -> None:
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            threading.Thread(target=self._forward, args=(near, far), daemon=True).start()

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            with self._lock:
                self._open |= {near, far}
            late = self._late
            answers = (far, near, self._may_answer, late)
            back = threading.Thread(target=pump, args=answers, daemon=True)
            back.start()
            pump(near, far, None, late)
            back.join()
            with self._lock:
                self._open -= {near, far}

    def _late(self) -> None:
        if self.delay_seconds:
            SYSTEM_CLOCK.sleep(self.delay_seconds)


def pump(
    source: socket.socket,
    sink: socket.socket,
    may_pass: threading.Event | None = None,
    before: Callable[[], None] = lambda: None,
) -> None:
    """Pass on what comes, until one side ends; what may not pass is dropped."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            before()
            if may_pass is None or may_pass.is_set():
                sink.sendall(data)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxied(installation: Installation) -> Iterator[Proxy | None]:
    """Put a proxy between an installation and its server; None where there is no server."""
    if installation.features.name == "sqlite":
        yield None
        return
    parts = urlsplit(installation.url)
    proxy = Proxy(parts.hostname or "", parts.port or 0)
    user = f"{parts.username}:{parts.password}@" if parts.username else ""
    installation.url = urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{proxy.port}"))
    try:
        yield proxy
    finally:
        proxy.cut()
        installation.url = urlunsplit(parts)


class Outage:
    """Takes the broker of one installation away and gives it back, with what it held."""

    def __init__(self, installation: Installation, proxy: Proxy | None) -> None:
        self._proxy = proxy
        self._folder = installation.folder / "broker"
        self._away = installation.folder / "away"

    def begin(self) -> None:
        if self._proxy is not None:
            self._proxy.cut()
            return
        self._folder.rename(self._away)
        self._folder.write_text("in the way")  # no folder can be made here

    def end(self) -> None:
        if self._proxy is not None:
            self._proxy.mend()
            return
        self._folder.unlink()
        self._away.rename(self._folder)


def wipe(installation: Installation) -> None:
    """Have the broker lose everything it holds, definitions included."""
    if installation.features.name == "sqlite":
        path = Path(installation.url.removeprefix("sqlite:///"))
        for suffix in ("", "-wal", "-shm", "-live"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        shutil.rmtree(f"{path}.w", ignore_errors=True)
    elif installation.features.name == "redis":
        with Connection(installation.url) as connection:
            client = connection.channel().client
            for key in client.scan_iter(f"{installation.namespace}:*", count=10_000):
                client.delete(key)
    else:
        vhost = urlsplit(installation.url).path.removeprefix("/")
        rabbitmqctl("delete_vhost", vhost)
        make_vhost(vhost)


def make_vhost(name: str) -> None:
    rabbitmqctl("add_vhost", name)
    rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")


def rabbitmqctl(*arguments: str) -> None:
    subprocess.run(["rabbitmqctl", *arguments], check=True, capture_output=True)
