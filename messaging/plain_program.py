"""The bus for programs that are no Django project: one call instead of settings.

Outbox and inbox are Django models, so Django is configured here, once in a process and as small as
it goes: `messaging` alone is installed, logging is left as it is, and no secret is needed.
"""

import copy
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import django
from django.conf import settings

from messaging.brokers import profile_for
from messaging.communicator import ServiceCommunicator
from messaging.config import MessagingConfig
from messaging.databases import SQLITE, database_at
from messaging.errors import ConfigurationError

#: Tables that a database of one's own has, by the beginnings of their names.
_OWN_TABLES: Final = ("messaging_", "django_migrations", "sqlite_")
#: Where Django was configured by `standalone`: for what.
_configured: dict[str, Any] = {}


class StandaloneCommunicator(ServiceCommunicator):
    """A communicator of a program without a worker.

    Within a ``with`` block it also relays, as a worker does: what its database keeps goes out when
    it is due, and the outcomes of what it answers for are noted. At the end of the block it waits
    a few seconds for what is on its way; the rest stays in the database for the next relay: of a
    worker, or of the next such block.
    """

    def __enter__(self) -> Self:
        from messaging.custody.control import Control  # Django's models load late
        from messaging.custody.relay import Relay

        self._control = Control(self.bus, self.name)
        self._relay = Relay(self.bus, self.name)
        self._control.start()
        self._relay.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bus.dispatch.flush()
        self._relay.stop()
        self._control.stop()
        self.close()


def standalone(
    name: str,
    *,
    broker_url: str,
    database_url: str = "",
    migrate: bool | None = None,
    version: str = "0",
    **messaging: Any,
) -> StandaloneCommunicator:
    """Return a communicator that is ready to send, to ask, and, by ``celery_app``, to handle.

    Its database has the tables of the bus afterwards. Not on an event loop. Several services of
    one program call it once each, with the same broker and database.

    Args:
        name: the service.
        broker_url: ``sqlite:////path``, ``amqp://…`` or ``redis://…``.
        database_url: for what is answered for and tried again; empty: the SQLite file
            ``<name>.sqlite3`` beside the file of the embedded broker.
        migrate: whether tables that are missing or old are made; None: where the database is a
            SQLite file with no other tables in it.
        version: of the service, shown in the registry.
        **messaging: further settings of `MessagingConfig`, such as ``namespace``.

    Raises:
        ConfigurationError: a setting is wrong, Django is configured already, or tables are missing
            and not to be made here. Nothing was sent; safe to call again with the fault mended.
        django.db.OperationalError: the database does not answer. Nothing was sent; safe to call
            again.
    """
    mapping = {"broker_url": broker_url, **messaging}
    config = MessagingConfig.from_mapping(mapping)
    profile_for(broker_url)  # wrong input is told before Django is configured, which is for good
    communicator = StandaloneCommunicator(name, version=version, config=config)
    if database_url or not _configured:
        database = database_at(database_url or _beside_broker(broker_url, name), "database_url")
    else:
        database = _configured["DATABASES"]["default"]
    _configure(name, {"MESSAGING": mapping, "DATABASES": {"default": database}})
    _ensure_tables(name, migrate)
    return communicator


def _beside_broker(broker_url: str, name: str) -> str:
    """Return the URL of the database that a program with the embedded broker has by default."""
    if profile_for(broker_url).name != "sqlite":
        raise ConfigurationError(
            f"standalone({name!r}): expected database_url, got nothing; name one such as "
            "sqlite:////folder/file.sqlite3 on a local disk, or postgres://…"
        )
    from messaging.transport.files import files_of  # SQLAlchemy comes with it

    return f"sqlite:///{Path(files_of(broker_url).database).parent / name}.sqlite3"


def _configure(name: str, wanted: Mapping[str, Any]) -> None:
    """Configure Django, unless it was done here, and in the same way."""
    if _configured:
        if wanted != _configured:
            raise ConfigurationError(
                f"standalone({name!r}): expected broker, database and settings of the first call "
                "in this process, got others; start another process for them"
            )
        return
    if settings.configured:
        raise ConfigurationError(
            f"standalone({name!r}): Django is configured already, so this is a Django project; "
            f"use ServiceCommunicator({name!r}), which reads settings.MESSAGING"
        )
    settings.configure(
        INSTALLED_APPS=["messaging"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        LOGGING_CONFIG=None,
        **copy.deepcopy(dict(wanted)),  # Django fills in what is missing
    )
    django.setup()
    _configured.update(wanted)


def _ensure_tables(name: str, migrate: bool | None) -> None:
    """Make sure that the tables are there and of this version."""
    from django.core.management import call_command
    from django.db import connection

    with _alone():
        if not _is_behind():
            return
        if migrate is None:
            migrate = connection.vendor == "sqlite" and _is_own(connection)
        if not migrate:
            raise ConfigurationError(
                f"standalone({name!r}): the database lacks tables of this version; run manage.py "
                "migrate of the project that it belongs to, or say migrate=True"
            )
        call_command("migrate", "messaging", verbosity=0, interactive=False)


def _is_behind() -> bool:
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == "messaging"]
    return bool(executor.migration_plan(targets))


def _is_own(connection: Any) -> bool:
    tables = connection.introspection.table_names()
    return all(table.startswith(_OWN_TABLES) for table in tables)


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process at a time look at a SQLite file, and make it; 0600, as messages are in it.

    Servers are the operator's affair.
    """
    database = settings.DATABASES["default"]
    if database["ENGINE"] != SQLITE:
        yield
        return
    file = Path(str(database["NAME"])).absolute()
    try:
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as exc:
        raise ConfigurationError(
            f"database_url: {file} cannot be made ({exc.strerror}); name a file in a folder that "
            "is there and may be written to"
        ) from exc
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
