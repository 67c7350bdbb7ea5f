"""Taking a backup while everything runs.

Both files are copied as they are at *one* instant. Copies of two instants, in either order, could
lose a message: what fails in between goes from the broker into the inbox, and what falls due goes
from the outbox to the broker. Every such way is two commits, the first where the message arrives
and the second where it leaves, so at any one instant at least one file has it. What both have
comes twice, and the inbox makes the second harmless.

The instant is made by holding the database's write lock while both snapshots begin, a millisecond
or so; nothing can arrive in or leave the database meanwhile. The copying itself, however long,
holds nobody up: both files have write-ahead logs, which keep a reader's snapshot.
"""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gateway_app.backup import manifest
from gateway_app.backup.files import (
    BROKER,
    DATABASE,
    Installed,
    installed,
    new_file,
    open_file,
    require_whole,
    sync_file,
    sync_folder,
)
from gateway_app.backup.manifest import Manifest
from messaging.envelope import utc_now
from messaging.errors import BrokerUnavailable


def take(target: Path) -> Manifest:
    """Copy database and broker into a new folder, which is there whole or not at all.

    Args:
        target: the folder to be made, mode 0700; files in it have 0600.

    Returns:
        What was copied.

    Raises:
        ConfigurationError: this installation is not one of files.
        ValueError: the folder exists, or cannot be made where it should be.
        BrokerUnavailable: a file is missing, damaged, or busy for 30 s; taking it again is safe.
    """
    files = installed()
    if target.exists():
        raise ValueError(f"{target} exists; a backup is never written over another one")
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        beside.mkdir(mode=0o700)
        try:
            taken = _copy(files, beside)
            sync_folder(str(beside))
            beside.rename(target)
            sync_folder(str(target.parent))
        finally:
            if beside.exists():
                shutil.rmtree(beside)
    except sqlite3.Error as exc:
        raise BrokerUnavailable(f"no backup was taken: {exc}") from exc
    except OSError as exc:
        raise ValueError(f"no backup was taken: {exc}") from exc
    return taken


def _copy(files: Installed, folder: Path) -> Manifest:
    with _at_one_instant(files) as snapshots:
        taken_at = utc_now()
        for name, snapshot in snapshots.items():
            copy = folder / name
            new_file(str(copy))
            with contextlib.closing(open_file(str(copy))) as into:
                # In one piece: the snapshot is open, so nobody waits for it.
                snapshot.backup(into)
                require_whole(into, name)
                # One file for each, which nothing has to be kept beside.
                into.execute("PRAGMA journal_mode = DELETE")
    with (
        contextlib.closing(open_file(str(folder / DATABASE))) as database,
        contextlib.closing(open_file(str(folder / BROKER))) as broker,
    ):
        layout = manifest.layout_of(broker)
        migrations = manifest.migrations_of(database)
        counts = manifest.counts_of(database, broker)
    made = Manifest(
        format=manifest.FORMAT,
        taken_at=taken_at.isoformat(),
        broker_layout=layout,
        migrations=migrations,
        counts=counts,
        sha256={name: manifest.sha256_of(folder / name) for name in files.paths()},
    )
    listing = folder / manifest.FILE
    new_file(str(listing))
    made.write(listing)
    for path in folder.iterdir():
        sync_file(str(path))
    return made


@contextlib.contextmanager
def _at_one_instant(files: Installed) -> Iterator[dict[str, sqlite3.Connection]]:
    """Give a connection to each file, by name, in a read transaction on one and the same state."""
    with contextlib.ExitStack() as stack:
        opened = {
            name: stack.enter_context(contextlib.closing(_opened(path)))
            for name, path in files.paths().items()
        }
        with contextlib.closing(_opened(files.database)) as gate:
            gate.execute("BEGIN IMMEDIATE")
            for connection in opened.values():
                connection.execute("BEGIN")
                # The snapshot begins with the first read.
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            gate.execute("ROLLBACK")
        yield opened


def _opened(path: str) -> sqlite3.Connection:
    if not os.path.exists(path):
        raise BrokerUnavailable(f"no backup was taken: {path} does not exist")
    return open_file(path)
