"""What `manage.py check` says about the message bus, as far as its settings tell."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, register

from messaging.apps import configured
from messaging.brokers import profile_for
from messaging.config import MessagingConfig
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

TRAPS: Final = (
    WRONG_SETTING,
    SHORT_VISIBILITY,
    SOLO_POOL,
    SHORT_MEMORY,
    OPEN_BROKER,
    UNSIGNED,
    UNSIGNED_FOR_LONG,
)
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
