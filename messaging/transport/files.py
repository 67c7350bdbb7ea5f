"""Where the broker's files are, which file systems they may be on, and the locks beside them.

``X`` (database), ``X-wal`` and ``X-shm`` (SQLite's), ``X-live`` (locks) and the folder ``X.w``
(one wake-up socket for every consuming connection).
"""

import fcntl
import os
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from messaging.errors import ConfigurationError

#: WAL needs memory shared by all processes and POSIX locks that hold: local disks only.
_NETWORK_FILE_SYSTEMS: Final = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
    ]
)
_MOUNTS: Final = Path("/proc/self/mountinfo")

#: Bytes of the lock file. A session's byte is SESSION_BYTE + its id.
WRITER_BYTE: Final = 1
JANITOR_BYTE: Final = 2
OPENING_BYTE: Final = 3
SESSION_BYTE: Final = 1000


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """The names of all files of one broker."""

    #: Absolute, without symbolic links: one file has one name in a process.
    database: str

    @property
    def write_ahead_log(self) -> str:
        """SQLite's log of what is not yet in the database."""
        return f"{self.database}-wal"

    @property
    def shared_memory(self) -> str:
        """SQLite's index of that log."""
        return f"{self.database}-shm"

    @property
    def live(self) -> str:
        """The lock file."""
        return f"{self.database}-live"

    @property
    def wakeups(self) -> str:
        """The folder of the wake-up sockets."""
        return f"{self.database}.w"


def files_of(url: str) -> BrokerFiles:
    """Return the files that a URL names, as SQLAlchemy reads it.

    Args:
        url: ``sqlite:////absolute/path``; from a relative one each folder would have a broker of
            its own.

    Raises:
        ConfigurationError: no path, a relative one, an in-memory database, a host, a query, or a
            folder.
    """
    scheme, _, rest = url.partition("://")
    path = rest.removeprefix("/")
    is_usable = rest != path and os.path.isabs(path) and ":memory:" not in path
    if scheme != "sqlite" or not is_usable or "?" in path:
        raise ConfigurationError(
            f"broker URL: expected sqlite:////absolute/path, with four slashes, got {url!r}"
        )
    database = os.path.realpath(path)
    if os.path.isdir(database):
        raise ConfigurationError(f"broker URL: expected a file, got the folder {database!r}")
    return BrokerFiles(database)


def prepare_folder(files: BrokerFiles) -> None:
    """Make sure of the database's folder (0700 if new), and that its file system can do this.

    Raises:
        ConfigurationError: the folder is on a network file system.
    """
    folder = os.path.dirname(files.database)
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    if found := network_file_system(folder):
        raise ConfigurationError(
            f"broker URL: expected a folder on a local disk, got {folder!r}, which is on {found}"
        )


def network_file_system(folder: str) -> str:
    """Return the type of the network file system a folder is on; empty if it is a local one."""
    if not _MOUNTS.exists():
        return ""  # not Linux: nothing tells, so nothing is refused
    found = file_system_type(folder, _MOUNTS.read_text().splitlines())
    return found if found in _NETWORK_FILE_SYSTEMS else ""


def file_system_type(path: str, mounts: Iterable[str]) -> str:
    """Return the type of the file system a path is on, by lines of ``/proc/self/mountinfo``."""
    longest, found = -1, ""
    for line in mounts:
        mount, _, source = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount.split()[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # The last of several mounts on one point is the one seen, hence >=.
        if inside and len(point) >= longest:
            longest, found = len(point), source.split()[0]
    return found


class LiveFile:
    """A file without content whose bytes are locks that the kernel drops when a process dies.

    POSIX locks on purpose: they are not inherited by forked children, which would keep a dead
    parent's sessions alive. Two traps come with them. Closing *any* descriptor of the file drops
    all locks of the process, so the one descriptor is never closed. And a process never
    conflicts with itself, so nobody may ask here about a session of this process.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.identity = identity_of(os.fstat(descriptor))

    def try_lock(self, byte: int) -> bool:
        """Take a lock and return True, or return False at once if another process has it."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as POSIX leaves it open
            return False
        return True

    def unlock(self, byte: int) -> None:
        """Give a lock back; nothing happens if this process does not have it."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)


#: Which file a path led to: device and inode.
Identity = tuple[int, int]


def identity_of(status: os.stat_result) -> Identity:
    """Return what tells a file from another one that takes its name later."""
    return status.st_dev, status.st_ino


_live_files: dict[Identity, LiveFile] = {}
_live_files_lock = threading.Lock()


def live_file(files: BrokerFiles) -> LiveFile:
    """Return this process's one `LiveFile` for the lock file, made (0600) if missing.

    Also right in a forked child: the descriptor is inherited, the locks are not.
    """
    with _live_files_lock:
        try:
            known = _live_files.get(identity_of(os.stat(files.live)))
        except FileNotFoundError:
            known = None
        if known is None:
            opened = LiveFile(os.open(files.live, os.O_RDWR | os.O_CREAT, 0o600))
            # setdefault: should the name have moved between the two calls, the descriptor we
            # have for that inode stays in use, and the new one stays open (see the class).
            known = _live_files.setdefault(opened.identity, opened)
        return known
