"""The folder of this installation, its disk, who may read its files; and the libraries."""

import shutil
import stat
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from django.conf import settings

import gateway_app
from gateway_app import traps
from gateway_app.bus import communicator
from gateway_app.doctor.finding import Finding, LayerBroken, fine, trapped
from messaging.databases import SQLITE

#: Below this the write-ahead logs of broker and database may fill the disk within minutes.
LEAST_FREE_BYTES: Final = 1_000_000_000
LEAST_FREE_SHARE: Final = 0.05
#: What the guarantees lean on; a patch version that differs is no finding.
_LIBRARIES: Final = ("celery", "kombu", "django")


def look() -> Iterator[Finding]:
    """Yield whether files can be kept, and stay among us."""
    folder = Path(settings.VAR_DIR)
    if not folder.exists():  # in a project that hosts the gateway and has not needed it yet
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"doctor")
    except OSError as exc:
        raise LayerBroken("Folder", traps.FOLDER_NOT_WRITABLE, str(exc)) from exc
    yield fine("Folder", f"{folder} can be written to")
    yield _disk(folder)
    yield from _rights()
    yield from _libraries()


def _disk(folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    share = usage.free / usage.total
    text = f"{usage.free / 1e9:.1f} GB free, {100 * share:.0f} %"
    if usage.free < LEAST_FREE_BYTES or share < LEAST_FREE_SHARE:
        return trapped("Disk", traps.DISK_NEARLY_FULL, text)
    return fine("Disk", text)


def _rights() -> Iterator[Finding]:
    files = [file for file in _own_files() if file.exists()]
    open_files = [file for file in files if stat.S_IMODE(file.stat().st_mode) & 0o077]
    for file in open_files:
        # A folder that nobody else may enter shields what is in it.
        if stat.S_IMODE(file.parent.stat().st_mode) & 0o077:
            mode = stat.S_IMODE(file.stat().st_mode)
            yield trapped("Rights", traps.OPEN_TO_OTHERS, f"{file} has mode {mode:04o}")
            return
    if files:
        yield fine("Rights", "nobody else can read broker file and database")


def _own_files() -> Iterator[Path]:
    bus = communicator.bus
    if bus.profile.name == "sqlite":
        from messaging.transport.files import files_of  # SQLAlchemy comes with it

        names = files_of(bus.config.broker_url)
        yield from map(Path, (names.database, names.write_ahead_log, names.live))
    database = settings.DATABASES["default"]
    if database["ENGINE"] == SQLITE:
        yield Path(str(database["NAME"]))


def _libraries() -> Iterator[Finding]:
    # Those of this code, not of a project that hosts it.
    wanted = dict(_pinned(Path(gateway_app.__file__).parents[1] / "requirements.txt"))
    others = [
        f"{name} {metadata.version(name)} (tested: {wanted[name]})"
        for name in _LIBRARIES
        if name in wanted and _minor(metadata.version(name)) != _minor(wanted[name])
    ]
    if others:
        yield trapped("Libraries", traps.OTHER_VERSION, ", ".join(others))
    elif wanted:
        yield fine("Libraries", ", ".join(f"{n} {metadata.version(n)}" for n in _LIBRARIES))


def _pinned(requirements: Path) -> Iterator[tuple[str, str]]:
    if not requirements.exists():
        return  # installed as a package: its metadata says what is needed
    for line in requirements.read_text().splitlines():
        name, _, version = line.partition("==")
        if version:
            yield name.partition("[")[0].strip().lower(), version.strip()


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
