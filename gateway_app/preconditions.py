"""What must hold before a stack starts: its folder and ports are free, its broker answers."""

import fcntl
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kombu.exceptions import OperationalError

from gateway_app.stack import StackError
from messaging import ConfigurationError, MessageBus, MessagingError
from messaging.brokers import shown
from messaging.refusal import refusal


@contextmanager
def only_one(var_dir: Path) -> Iterator[int]:
    """Hold the lock of this folder's stack; give its file descriptor.

    The processes inherit it: what a killed stack left behind holds the lock as well.

    Raises:
        StackError: another stack, or what is left of one, runs in this folder.
    """
    with (var_dir / "stack.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StackError(
                f"a stack runs in {var_dir} already (pids {file.read()}): "
                "stop it, or set VAR_DIR to another folder"
            ) from None
        file.truncate(0)
        yield file.fileno()


def require_broker(bus: MessageBus) -> None:
    """Make sure that the broker answers.

    Raises:
        StackError: it does not, within a few ``broker_timeout_seconds``.
        ConfigurationError: it does, and lets nobody in.
    """
    with bus.connection() as connection:
        try:
            connection.ensure_connection(
                max_retries=1, interval_start=0, timeout=bus.config.broker_timeout_seconds
            )
        except (*connection.channel_errors, OperationalError, MessagingError) as exc:
            if reason := refusal(exc):
                raise ConfigurationError(f"{shown(bus.config.broker_url)}: {reason}") from exc
            raise StackError(f"no broker at {shown(bus.config.broker_url)}: {exc}") from exc


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_port_taken(port: int) -> bool:
    """Return whether somebody listens on this TCP port of the loopback interface."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False
