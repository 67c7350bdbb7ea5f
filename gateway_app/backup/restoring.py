"""Putting a backup in the place of an installation's files, while nothing runs.

The broker's markers (`messaging.custody.epoch`) are taken out of its copy: for each database that
uses it the broker has come back empty then, and what was published under custody and not received
is published again. So nothing depends on what the broker did between the backup and now.
"""

import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from django.db import connections
from django.db.migrations.loader import MigrationLoader

from gateway_app.backup.files import (
    BROKER,
    Installed,
    installed,
    new_file,
    open_file,
    require_whole,
    sync_file,
    sync_folder,
)
from gateway_app.backup.manifest import Manifest, sha256_of
from gateway_app.bus import communicator
from messaging.envelope import utc_now
from messaging.errors import BrokerBusy, BrokerUnavailable
from messaging.transport import schema
from messaging.transport.declarations import drop_queue

#: Whoever closes a file just now is waited for; whoever runs is not.
_PATIENCE_MS: Final = 2000


class Restored(NamedTuple):
    """What was done."""

    manifest: Manifest
    #: The files that were there before, under their new names.
    kept: list[str]
    #: Whether `manage.py migrate` has to run before anything starts.
    needs_migrate: bool


def restore(folder: Path) -> Restored:
    """Have this installation be as it was when a backup was taken.

    Safe to repeat, also after it was interrupted: the backup is only read, and nothing that was
    there before is deleted.

    Args:
        folder: made by `taking.take`.

    Raises:
        ConfigurationError: this installation is not one of files.
        ValueError: no backup, a damaged one, or one of a newer version; nothing was changed.
        BrokerBusy: a process of the installation runs; nothing was changed.
        BrokerUnavailable: the files could not be replaced, the text says which; repeat it.
    """
    files = installed()
    manifest = Manifest.read(folder)
    needs_migrate = _require_known(manifest)
    connections.close_all()
    suffix = f"before-restore-{utc_now():%Y%m%dT%H%M%SZ}"
    try:
        with _nobody_else(files):
            staged = _stage(folder, manifest, files)
            kept = [
                kept
                for name, path in files.paths().items()
                if (kept := _replace(path, staged[name], f"{path}.{suffix}"))
            ]
    except (sqlite3.Error, OSError) as exc:
        raise BrokerUnavailable(f"not restored, do it again: {exc}") from exc
    return Restored(manifest, kept, needs_migrate)


def _require_known(manifest: Manifest) -> bool:
    """Return whether the code has migrations that the backup has not had.

    Raises:
        ValueError: it is the other way round, or the broker's layout is a newer one.
    """
    if manifest.broker_layout > schema.VERSION:
        raise ValueError(
            f"the backup's broker has layout {manifest.broker_layout}, this version knows up to "
            f"{schema.VERSION}; restore it with the version it was taken with"
        )
    known = set(MigrationLoader(None).disk_migrations)
    had = {(app, name) for app, names in manifest.migrations.items() for name in names}
    if had - known:
        app, name = min(had - known)
        raise ValueError(
            f"the backup has had the migration {app}.{name}, which this version does not know; "
            "restore it with the version it was taken with"
        )
    return bool(known - had)


@contextlib.contextmanager
def _nobody_else(files: Installed) -> Iterator[None]:
    """Have all files for this process alone, within the block.

    Raises:
        BrokerBusy: another process uses one.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_live_lock(files))
        for path in files.paths().values():
            if os.path.exists(path):
                stack.enter_context(_exclusive(path))
        yield


@contextlib.contextmanager
def _live_lock(files: Installed) -> Iterator[None]:
    """Hold every byte of the broker's lock file: of all sessions, and of who opens it."""
    os.makedirs(os.path.dirname(files.broker.live), mode=0o700, exist_ok=True)
    descriptor = os.open(files.broker.live, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise _busy(files.broker.database) from None
        yield
    finally:
        os.close(descriptor)  # this process has no session whose lock would go with it


@contextlib.contextmanager
def _exclusive(path: str) -> Iterator[None]:
    """Hold SQLite's own lock, which also those have to wait for who only read or publish."""
    with contextlib.closing(open_file(path)) as db:
        db.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS:d}")
        # Before the first read: with it, a write-ahead log needs the file for oneself.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            db.execute("BEGIN EXCLUSIVE")
            db.execute("COMMIT")
            # The log goes into the file: what is kept of it is this one file.
            db.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise _busy(path) from exc
        yield


def _busy(path: str) -> BrokerBusy:
    return BrokerBusy(f"a process uses {path}: stop everything first; nothing was changed")


def _stage(folder: Path, manifest: Manifest, files: Installed) -> dict[str, str]:
    """Copy the backup beside the files, check the copies, and take the markers out.

    Returns:
        The copies by name; there is none if anything is raised.

    Raises:
        ValueError: the backup is not what its manifest says.
    """
    staged = {name: f"{path}.restoring" for name, path in files.paths().items()}
    try:
        for name, path in staged.items():
            _remove(path)  # of a restore that was interrupted
            new_file(path)
            shutil.copyfile(folder / name, path)
            _require_same(path, manifest.sha256[name], name)
        with contextlib.closing(open_file(staged[BROKER])) as broker:
            _remove_markers(broker)
        for path in staged.values():
            sync_file(path)
    except BaseException:
        for path in staged.values():
            _remove(path)
        raise
    return staged


def _require_same(path: str, checksum: str, name: str) -> None:
    if sha256_of(Path(path)) != checksum:
        raise ValueError(f"the backup's {name} is damaged: its checksum differs")
    with contextlib.closing(open_file(path)) as db:
        require_whole(db, name)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _remove_markers(broker: sqlite3.Connection) -> None:
    prefix = communicator.bus.topology.epoch_queue("").name
    broker.execute("BEGIN IMMEDIATE")
    markers = broker.execute(
        "SELECT id FROM queue WHERE substr(name, 1, ?) = ?", (len(prefix), prefix)
    ).fetchall()
    for (queue_id,) in markers:
        drop_queue(broker, queue_id)
    broker.execute("COMMIT")


def _replace(path: str, staged: str, kept: str) -> str:
    """Put a file in the place of another, which is kept; return its new name, if there was one."""
    is_there = os.path.exists(path)
    if is_there:
        os.link(path, kept)  # never without a file of that name: a start would make an empty one
    os.replace(staged, path)
    sync_folder(os.path.dirname(path))
    return kept if is_there else ""
