from pathlib import Path

import pytest
from pytest_django import Settings

import gateway_app
from gateway_app import traps
from gateway_app.doctor import files
from messaging import MessageBus
from messaging.transport.files import files_of
from tests.gateway_app.doctor.found import ids


@pytest.fixture(autouse=True)
def own_folder(settings: Settings, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path


@pytest.fixture
def broker_file(own_broker: MessageBus) -> Path:
    with own_broker.connection() as connection:
        connection.default_channel.queue_declare("some")
    return Path(files_of(own_broker.config.broker_url).database)


def test_a_sound_folder_has_no_finding(broker_file: Path) -> None:
    assert broker_file.exists()
    assert ids(files.look) == set()


def test_a_folder_that_cannot_be_written_to_is_found(settings: Settings) -> None:
    settings.VAR_DIR = Path("/proc")
    assert ids(files.look) == {traps.FOLDER_NOT_WRITABLE.id}


def test_a_disk_that_is_nearly_full_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LEAST_FREE_BYTES", 1 << 60)  # more than any disk here has
    assert ids(files.look) == {traps.DISK_NEARLY_FULL.id}


def test_a_broker_file_that_others_can_read_is_found(broker_file: Path) -> None:
    broker_file.chmod(0o644)
    assert ids(files.look) == set()  # nobody else comes into its folder
    broker_file.parent.chmod(0o755)
    assert ids(files.look) == {traps.OPEN_TO_OTHERS.id}


def test_a_library_that_is_older_than_what_is_tested_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_app, "__file__", str(tmp_path / "gateway_app" / "__init__.py"))
    (tmp_path / "requirements.txt").write_text("kombu[redis]==99.1.0\ncelery>=1\n")
    assert ids(files.look) == {traps.OTHER_VERSION.id}
