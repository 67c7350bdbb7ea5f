"""What `manage.py check` says about the message bus, as far as its settings tell."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, register

from messaging.apps import configured
from messaging.brokers import profile_for
from messaging.config import MessagingConfig
from messaging.databases import SQLITE
from messaging.envelope import utc_now
from messaging.errors import ConfigurationError
from messaging.traps import Trap

#: Of these checks, for who runs them alone.
TAG: Final = "messaging"

WRONG_SETTING: Final = Trap(
    "messaging.E001",
    "A MESSAGING setting is missing, unknown or wrong.",
    "Correct it in settings.MESSAGING, or MESSAGING_<NAME> and BROKER_URL in the environment.",
)
DATABASE_ON_NETWORK: Final = Trap(
    "messaging.E002",
    "SQLite on a network file system loses data: its locks do not hold there.",
    "Put the database file on a local disk (VAR_DIR), or take PostgreSQL (DATABASE_URL).",
)
NO_TIME_ZONES: Final = Trap(
    "messaging.E003",
    "Instants of the database cannot be compared with those of messages.",
    "Set USE_TZ = True in settings.py.",
)
NO_DATABASE: Final = Trap(
    "messaging.E004",
    "Nothing can be answered for, tried again later, or kept while the broker is away.",
    "Set DATABASES['default'] in settings.py to SQLite on a local disk, or to PostgreSQL.",
)
SHORT_VISIBILITY: Final = Trap(
    "messaging.W001",
    "Redis gives a message to a second worker while the first one is still at it.",
    "Set MESSAGING_REDIS_VISIBILITY_TIMEOUT_SECONDS above MESSAGING_HANDLER_TIMEOUT_SECONDS.",
)
SOLO_POOL: Final = Trap(
    "messaging.W002",
    "Workers handle one message at a time, and say nothing while they do.",
    "Set MESSAGING_WORKER_POOL to threads, or to prefork.",
)
SHORT_MEMORY: Final = Trap(
    "messaging.W003",
    "Copies are forgotten before what they are copies of: a late one is parked, not recognised.",
    "Set MESSAGING_DEDUP_DAYS to at least MESSAGING_RETENTION_DAYS.",
)
OPEN_BROKER: Final = Trap(
    "messaging.W004",
    "Anybody who reaches the broker can read messages, and send any.",
    "Give the broker a user and a password of your own, and put them into BROKER_URL.",
)

UNSIGNED: Final = Trap(
    "messaging.W005",
    "Whoever reaches the broker can speak for every service, in messages and in receipts.",
    "Set MESSAGING_SIGNING_KEYS; docs/security.md says how.",
)
UNSIGNED_FOR_LONG: Final = Trap(
    "messaging.W006",
    "What nobody has signed is believed for a long time to come.",
    "Set MESSAGING_UNSIGNED_UNTIL to the day when the last service has its keys.",
)
SQLITE_OPTIONS: Final = Trap(
    "messaging.W007",
    "Processes lock each other out of the database: errors under load.",
    "Set OPTIONS of the SQLite database to messaging.databases.SQLITE_OPTIONS.",
)

TRAPS: Final = (
    WRONG_SETTING,
    DATABASE_ON_NETWORK,
    NO_TIME_ZONES,
    NO_DATABASE,
    SHORT_VISIBILITY,
    SOLO_POOL,
    SHORT_MEMORY,
    OPEN_BROKER,
    UNSIGNED,
    UNSIGNED_FOR_LONG,
    SQLITE_OPTIONS,
)
#: What Django takes where nothing is set.
_DUMMY: Final = "django.db.backends.dummy"
#: Longer than it takes to give keys out.
_LONG: Final = timedelta(days=14)


@register(TAG)
def check_settings(**_: Any) -> list[CheckMessage]:
    """Report a MESSAGING setting that is missing, unknown or wrong, and contradictions."""
    try:
        config = configured()
        profile = profile_for(config.broker_url).name
    except ConfigurationError as exc:
        return [WRONG_SETTING.found(str(exc))]
    return list(_contradictions(config, profile))


@register(TAG)
def check_database(**_: Any) -> list[CheckMessage]:
    """Report that there is no database, or SQLite without what it needs."""
    database = settings.DATABASES.get("default") or {}
    engine = database.get("ENGINE") or _DUMMY
    if engine == _DUMMY:
        return [NO_DATABASE.found("DATABASES has no default.")]
    return list(_sqlite(database)) if engine == SQLITE else []


@register(TAG)
def check_time_zones(**_: Any) -> list[CheckMessage]:
    """Report instants without a time zone: none could be compared with those of messages."""
    return [] if settings.USE_TZ else [NO_TIME_ZONES.found("USE_TZ is off.")]


@register(TAG, deploy=True)
def check_broker_login(**_: Any) -> list[CheckMessage]:
    """Report a broker server in production that asks for no password, or RabbitMQ's own."""
    try:
        parts = urlsplit(configured().broker_url)
        profile = profile_for(parts.geturl()).name
    except ConfigurationError:
        return []  # of check_settings
    if settings.DEBUG or profile not in ("amqp", "redis"):
        return []
    if profile == "amqp" and (parts.username or "guest", parts.password or "guest") == (
        "guest",
        "guest",
    ):
        return [OPEN_BROKER.found("BROKER_URL has RabbitMQ's first user, guest with guest.")]
    if not parts.password:
        return [OPEN_BROKER.found("BROKER_URL has no password.")]
    return []


@register(TAG, deploy=True)
def check_signatures(**_: Any) -> list[CheckMessage]:
    """Report messages in production that nobody signs, or need not sign for long."""
    try:
        config = configured()
    except ConfigurationError:
        return []  # of check_settings
    if settings.DEBUG:
        return []
    if not config.signing_keys:
        return [UNSIGNED.found("signing_keys is empty.")]
    until = config.unsigned_until
    if until and datetime.fromisoformat(until) > utc_now() + _LONG:
        return [UNSIGNED_FOR_LONG.found(f"unsigned_until is {until}.")]
    return []


def _sqlite(database: dict[str, Any]) -> Iterator[CheckMessage]:
    from messaging.transport.files import network_file_system  # SQLAlchemy comes with it

    file = Path(str(database["NAME"])).absolute()
    if found := network_file_system(str(file.parent)):
        yield DATABASE_ON_NETWORK.found(f"{file} is on {found}.")
    options = database.get("OPTIONS", {})
    missing = []
    if options.get("transaction_mode") != "IMMEDIATE":
        missing.append("transaction_mode IMMEDIATE")
    if not re.search(r"journal_mode\s*=\s*WAL", options.get("init_command", ""), re.IGNORECASE):
        missing.append("PRAGMA journal_mode=WAL")
    if missing:
        yield SQLITE_OPTIONS.found(f"OPTIONS of the database lack {' and '.join(missing)}.")


def _contradictions(config: MessagingConfig, profile: str) -> Iterator[CheckMessage]:
    visible, handled = config.redis_visibility_timeout_seconds, config.handler_timeout_seconds
    if profile == "redis" and visible <= handled:
        yield SHORT_VISIBILITY.found(
            f"redis_visibility_timeout_seconds is {visible}, and a handler may take "
            f"{handled:g} s (handler_timeout_seconds)."
        )
    if config.worker_pool == "solo":
        yield SOLO_POOL.found("worker_pool is solo, which is for tests.")
    if config.dedup_days < config.retention_days:
        yield SHORT_MEMORY.found(
            f"dedup_days is {config.dedup_days:g}, retention_days {config.retention_days:g}."
        )
