"""Where a play plays: a folder, a database, a broker or a corner of one, all its own."""

import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings

from gateway_app.preconditions import free_port
from gateway_app.process import child_environment
from gateway_app.stack import StackError
from messaging import MessagingConfig
from messaging.brokers import profile_for

#: The longest command waits for a replayed message; a fresh database takes a second.
COMMAND_SECONDS: Final = 90.0
#: In the folder.
DATABASE: Final = "gateway.sqlite3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The surroundings of a play's processes."""

    folder: Path
    #: Of the processes.
    environment: dict[str, str]
    #: The same bus, for the play itself.
    config: MessagingConfig
    gateway_url: str

    @property
    def log_dir(self) -> Path:
        """Holds the processes' logs."""
        return self.folder / "log"

    @property
    def is_broker_embedded(self) -> bool:
        """Whether the broker is a file in the folder, and goes with it."""
        return profile_for(self.config.broker_url).name == "sqlite"

    @property
    def database(self) -> Path:
        """The processes' database."""
        return self.folder / DATABASE

    def manage(self, *arguments: str) -> str:
        """Run a management command as an operator would; return what it printed.

        Raises:
            StackError: it failed.
        """
        return self.run("manage.py", *arguments)

    def run(self, *arguments: str) -> str:
        """Run a Python program; return what it printed.

        Raises:
            StackError: it failed.
        """
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=settings.BASE_DIR,
            env=self.environment,
            timeout=COMMAND_SECONDS,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(f"{' '.join(arguments[:2])}: {done.stderr.strip()}")
        return done.stdout

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)

    def migrate(self) -> None:
        """Make the database.

        Raises:
            StackError: it cannot be made.
        """
        self.manage("migrate", "--verbosity=0", "--no-input")


def make_sandbox(name: str) -> Sandbox:
    """Return a fresh sandbox of this play; nothing of it but the folder exists yet."""
    folder = Path(tempfile.mkdtemp(prefix=f"bus-{name}-"))
    broker_url = settings.MESSAGING["broker_url"]
    if profile_for(broker_url).name == "sqlite":
        # Never a broker file that others may be using.
        broker_url = f"sqlite:///{folder / 'broker.sqlite3'}"
    namespace = f"{name}-{secrets.token_hex(4)}"
    port = free_port()
    return Sandbox(
        folder=folder,
        environment=child_environment(
            VAR_DIR=str(folder),
            DATABASE_URL=f"sqlite:///{folder / DATABASE}",
            BROKER_URL=broker_url,
            MESSAGING_NAMESPACE=namespace,
            # 30 by default. Redis keeps what a killed worker held to itself; custody sends it
            # again after this, and nobody likes to watch it wait.
            MESSAGING_RECEIPT_TIMEOUT_SECONDS="3",
            GATEWAY_PORT=str(port),
            # The play comes by HTTP, on loopback.
            DJANGO_TLS="0",
            DJANGO_SECRET_KEY=secrets.token_urlsafe(32),
            DJANGO_ALLOWED_HOSTS="127.0.0.1",
        ),
        config=MessagingConfig.from_mapping(
            {**settings.MESSAGING, "broker_url": broker_url, "namespace": namespace}
        ),
        gateway_url=f"http://127.0.0.1:{port}",
    )
