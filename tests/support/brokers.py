"""The brokers that the tests run against."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest


@dataclass(frozen=True)
class Features:
    """What a broker promises; the conformance suite holds it to exactly this."""

    name: str
    url: str
    #: Seconds until what a killed worker held is handled by another.
    recovery_seconds: float


BROKERS = {
    "sqlite": Features("sqlite", "sqlite:///{folder}/broker.sqlite3", 5.0),
    "amqp": Features(
        "amqp",
        os.environ.get("TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//"),
        5.0,
    ),
    # Recovery is the visibility timeout (3 s in the tests) and the 5 s it is looked at.
    "redis": Features("redis", os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9"), 15.0),
}


def broker_at(url: str) -> Features:
    """Return what a broker of a user's own is held to: all that the best one of its kind keeps."""
    scheme = urlsplit(url).scheme
    for name, schemes in _SCHEMES.items():
        if scheme in schemes:
            return Features(name, url, BROKERS[name].recovery_seconds)
    return Features("other", url, 5.0)


_SCHEMES = {
    "sqlite": ("sqlite",),
    "amqp": ("amqp", "amqps", "pyamqp"),
    "redis": ("redis", "rediss", "sentinel"),
}


def url_for(features: Features, folder: Path) -> str:
    return features.url.format(folder=folder)


def require(features: Features) -> None:
    """Skip where the server is not there, and fail where it has to be."""
    parts = urlsplit(features.url)
    if parts.scheme == "sqlite" or not parts.hostname:
        return
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), 1).close()
    except OSError as exc:
        text = f"{features.name}: no server at {parts.hostname}:{parts.port} ({exc})"
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail(text)
        pytest.skip(text)
