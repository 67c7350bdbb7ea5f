"""Traps that the settings alone tell: found by `check`, by `check --deploy`, and by the doctor."""

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import run_checks
from pytest_django import Settings

from gateway_app import checks, traps
from gateway_app.doctor import settings as settings_layer
from messaging import checks as messaging_checks
from messaging.databases import SQLITE
from messaging.transport import files
from tests.gateway_app.doctor.found import ids

#: Of the message bus, with nothing wrong.
SOUND = {"http_concurrency": 10, "signing_keys": f"k:{'s' * 40}"}


def found() -> set[str | None]:
    tags = [checks.TAG, messaging_checks.TAG]
    return {message.id for message in run_checks(tags=tags, include_deployment_checks=True)}


@pytest.fixture(autouse=True)
def sound(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of production with nothing wrong."""
    settings.DEBUG = False
    settings.SECRET_KEY = "a long text that nobody knows"
    settings.ALLOWED_HOSTS = ["bus.example.org"]
    settings.FLOWER_BASIC_AUTH = "anna:long"
    settings.ENVIRONMENT_NAMES = frozenset({"PATH", "BROKER_URL", "GATEWAY_HOST", "VAR_DIR"})
    settings.MESSAGING = {"broker_url": f"sqlite:///{tmp_path}/b.sqlite3", **SOUND}
    database = {
        "ENGINE": SQLITE,
        "NAME": tmp_path / "gateway.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }
    monkeypatch.setitem(settings.DATABASES, "default", database)
    return settings


def test_sound_settings_have_no_finding() -> None:
    assert found() == set()
    assert ids(settings_layer.look) == set()


def test_a_laptop_is_told_of_debug_mode_and_of_nothing_that_matters_in_production(
    sound: Settings,
) -> None:
    sound.DEBUG = True
    sound.SECRET_KEY = checks.INSECURE_KEY
    sound.ALLOWED_HOSTS = ["*"]
    sound.FLOWER_BASIC_AUTH = ""
    sound.MESSAGING = {"broker_url": "amqp://guest:guest@127.0.0.1//"}
    assert found() == {"gateway_app.W001"}
    plain = run_checks(tags=[checks.TAG, messaging_checks.TAG])
    assert plain == []


REDIS = "redis://:secret@127.0.0.1/0"
MUCH_LATER = "2099-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("trap", "changed"),
    [
        (traps.SECRET_KEY, {"SECRET_KEY": checks.INSECURE_KEY}),
        (traps.SECRET_KEY, {"SECRET_KEY": ""}),
        (messaging_checks.NO_TIME_ZONES, {"USE_TZ": False}),
        (traps.NO_PAGES, {"ROOT_URLCONF": "gateway_app.hosted_urls"}),
        (traps.MISSPELLED, {"ENVIRONMENT_NAMES": frozenset({"BROKER_URI"})}),
        (traps.MISSPELLED, {"ENVIRONMENT_NAMES": frozenset({"MESSAGNG_LEDGER"})}),
        (traps.MISSPELLED, {"ENVIRONMENT_NAMES": frozenset({"DATABASE_URI"})}),
        (traps.PAST_SETTINGS, {"ENVIRONMENT_NAMES": frozenset({"CELERY_BROKER_READ_URL"})}),
        (traps.ANY_HOST, {"ALLOWED_HOSTS": ["bus.example.org", "*"]}),
        (traps.NO_HOST, {"ALLOWED_HOSTS": ["localhost", "127.0.0.1"]}),
        (traps.FLOWER_WITHOUT_PASSWORD, {"FLOWER_BASIC_AUTH": ""}),
        (messaging_checks.WRONG_SETTING, {"MESSAGING": {"broker_url": "foo"}}),
        (messaging_checks.WRONG_SETTING, {"MESSAGING": {"broker_url": REDIS, "leger": "all"}}),
        (
            messaging_checks.SHORT_VISIBILITY,
            {"MESSAGING": {"broker_url": REDIS, "handler_timeout_seconds": 600.0}},
        ),
        (messaging_checks.SOLO_POOL, {"MESSAGING": {"broker_url": REDIS, "worker_pool": "solo"}}),
        (messaging_checks.SHORT_MEMORY, {"MESSAGING": {"broker_url": REDIS, "dedup_days": 2.0}}),
        (messaging_checks.OPEN_BROKER, {"MESSAGING": {"broker_url": "redis://127.0.0.1/0"}}),
        (messaging_checks.OPEN_BROKER, {"MESSAGING": {"broker_url": "amqp://10.0.0.1//"}}),
        (
            messaging_checks.OPEN_BROKER,
            {"MESSAGING": {"broker_url": "amqp://guest:guest@10.0.0.1//"}},
        ),
        (messaging_checks.UNSIGNED, {"MESSAGING": {"broker_url": REDIS, "signing_keys": ""}}),
        (
            messaging_checks.UNSIGNED_FOR_LONG,
            {"MESSAGING": {"broker_url": REDIS, "unsigned_until": MUCH_LATER}},
        ),
        (traps.OPEN_GATEWAY, {"MESSAGING": {"broker_url": REDIS, "http_auth": "none"}}),
    ],
    ids=lambda value: value.id if hasattr(value, "id") else "",
)
def test_a_trap_is_found_by_check_and_by_the_doctor(
    trap: Any, changed: dict[str, Any], sound: Settings
) -> None:
    if "MESSAGING" in changed:
        changed = {"MESSAGING": {**SOUND, **changed["MESSAGING"]}}
    for name, value in changed.items():
        setattr(sound, name, value)
    assert found() == {trap.id}
    assert ids(settings_layer.look) == {trap.id}


def test_what_is_silenced_is_not_told_by_the_doctor_either(sound: Settings) -> None:
    sound.ALLOWED_HOSTS = ["*"]
    sound.SILENCED_SYSTEM_CHECKS = [traps.ANY_HOST.id]
    assert ids(settings_layer.look) == set()


def test_a_sqlite_database_without_what_it_needs_is_found(sound: Settings) -> None:
    sound.DATABASES["default"]["OPTIONS"] = {"timeout": 20}
    assert found() == {messaging_checks.SQLITE_OPTIONS.id}


def test_a_project_without_a_database_is_told_so(
    sound: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sound.DATABASES, "default", {})
    assert found() == {messaging_checks.NO_DATABASE.id}


def test_a_sqlite_database_on_a_network_file_system_is_found(
    sound: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 35 0:41 / {tmp_path} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(files, "_MOUNTS", mounts)
    assert found() == {messaging_checks.DATABASE_ON_NETWORK.id}


@pytest.fixture
def few_files() -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Others of this process may have left some open.
    few = len(os.listdir("/proc/self/fd")) + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    yield few
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_few_open_files_for_the_clients_let_in_are_found(
    few_files: int, sound: Settings, tmp_path: Path
) -> None:
    broker = f"sqlite:///{tmp_path}/b.sqlite3"
    sound.MESSAGING = {**SOUND, "broker_url": broker, "http_concurrency": few_files}
    assert found() == {traps.FEW_OPEN_FILES.id}


def test_every_name_that_the_settings_read_is_known() -> None:
    """One that is not would be called misspelled, or never be suggested."""
    text = (Path(django_settings.BASE_DIR) / "gateway_app/settings.py").read_text()
    read = set(re.findall(r'(?:os\.environ\.get|_flag|_words)\(\s*"([A-Z_]+)"', text))
    assert {"BROKER_URL", "DJANGO_DEBUG", "DJANGO_ALLOWED_HOSTS"} <= read
    assert read <= django_settings.KNOWN_ENVIRONMENT
