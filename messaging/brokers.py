"""What differs between brokers, in one table: priorities, transport options, topic patterns.

Numbers and traps: RabbitMQ serves larger priorities first and a message without one last; kombu's
Redis transport serves 0 first and sorts into four steps; the embedded broker follows AMQP.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from kombu.transport import TRANSPORT_ALIASES
from kombu.utils.url import maybe_sanitize_url

from messaging.config import MessagingConfig
from messaging.envelope import MessagePriority
from messaging.errors import ConfigurationError
from messaging.libraries import need

# By name: whoever uses another broker never loads the embedded one, nor SQLAlchemy.
TRANSPORT_ALIASES["sqlite"] = "messaging.transport:Transport"
#: kombu's own stays what ``redis`` names, for whoever else uses it in this process.
REDIS_TRANSPORT: Final = "redis-bus"
TRANSPORT_ALIASES[REDIS_TRANSPORT] = "messaging.redis_transport:Transport"
SENTINEL_TRANSPORT: Final = "sentinel-bus"
TRANSPORT_ALIASES[SENTINEL_TRANSPORT] = "messaging.redis_transport:SentinelTransport"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerProfile:
    """What the rest of the library has to know about a broker."""

    #: Name for people and tests: ``sqlite``, ``amqp``, ``redis`` or ``other``.
    name: str
    #: Priority number on the wire for each name.
    priorities: Mapping[MessagePriority, int]
    #: ``x-max-priority`` of every work queue; None where the broker knows no such argument.
    max_priority: int | None
    #: Arguments of every queue that lasts.
    queue_arguments: Mapping[str, Any] = field(default_factory=dict)
    #: Whether topic exchanges follow AMQP exactly (see `patterns.without_empty_hashes`).
    exact_topics: bool
    #: Whether publishing to nowhere is an error (``mandatory``).
    reports_unroutable: bool
    #: Whether publish waits for the broker's word that it has the message.
    confirms: bool
    #: Whether that word takes a round trip, and can be waited for later.
    confirms_later: bool = False
    #: Whether it takes many messages in one transaction (`Publisher.together`).
    has_batches: bool = False
    #: Whether what a worker gives back comes before what was sent later.
    requeues_in_front: bool = False
    #: Whether one word acknowledges a delivery and all before it.
    acks_multiple: bool = False
    #: Whether reply queues expire only if the sender of the reply declares them too.
    replies_declare_queue: bool
    #: kombu's transport, where it is not the one of the URL's scheme.
    transport: str | None = None
    #: kombu's ``transport_options`` for every connection.
    transport_options: Callable[[MessagingConfig], dict[str, Any]]
    #: More of them for connections that only publish.
    publisher_options: Callable[[MessagingConfig], dict[str, Any]]


_LARGER_FIRST: Final = {
    MessagePriority.LOW: 1,
    MessagePriority.NORMAL: 3,
    MessagePriority.HIGH: 5,
    MessagePriority.CRITICAL: 7,
}
_SMALLER_FIRST: Final = {
    MessagePriority.LOW: 9,
    MessagePriority.NORMAL: 6,
    MessagePriority.HIGH: 3,
    MessagePriority.CRITICAL: 0,
}


def _sqlite_options(config: MessagingConfig) -> dict[str, Any]:
    return {"lease_seconds": config.lease_seconds, "ageing_seconds": config.ageing_seconds}


def _amqp_publisher_options(config: MessagingConfig) -> dict[str, Any]:
    return {
        "confirm_publish": True,
        # Bounds every wait for a broker that accepts TCP and then says nothing. Not for
        # consumers: they wait for messages as long as it takes.
        "read_timeout": config.broker_timeout_seconds,
        "write_timeout": config.broker_timeout_seconds,
    }


def _redis_options(config: MessagingConfig) -> dict[str, Any]:
    return {
        # What a dead worker held comes back after this; see docs/guarantees.md.
        "visibility_timeout": config.redis_visibility_timeout_seconds,
        # Look for it every 5 s, not every 100 s (10 ticks of 10 s are kombu's defaults).
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # Who looks holds a lock; one killed then would keep all others from it for 300 s. Two at a
        # time do no harm: a delivery is given back in a transaction of its own.
        "unacked_mutex_expire": 5,
        # kombu's default is no timeout at all: a mute Redis would block callers for ever.
        "socket_timeout": config.broker_timeout_seconds,
        "socket_connect_timeout": config.broker_timeout_seconds,
        "health_check_interval": 25,
        "socket_keepalive": True,
        # Several installations may share one Redis database.
        "global_keyprefix": f"{config.namespace}:" if config.namespace else "",
    }


def _no_options(_config: MessagingConfig) -> dict[str, Any]:
    return {}


PROFILES: Final[Mapping[str, BrokerProfile]] = {
    profile.name: profile
    for profile in (
        BrokerProfile(
            name="sqlite",
            priorities=_LARGER_FIRST,
            max_priority=None,
            exact_topics=True,
            reports_unroutable=True,
            confirms=True,
            has_batches=True,
            requeues_in_front=True,
            replies_declare_queue=False,
            transport_options=_sqlite_options,
            publisher_options=_no_options,
        ),
        BrokerProfile(
            name="amqp",
            priorities=_LARGER_FIRST,
            max_priority=7,
            exact_topics=True,
            reports_unroutable=True,
            confirms=True,
            confirms_later=True,
            requeues_in_front=True,
            acks_multiple=True,
            replies_declare_queue=False,
            transport_options=_no_options,
            publisher_options=_amqp_publisher_options,
        ),
        BrokerProfile(
            name="redis",
            priorities=_SMALLER_FIRST,
            max_priority=None,
            exact_topics=False,
            reports_unroutable=False,
            confirms=True,  # LPUSH answers once the list has it
            replies_declare_queue=True,
            transport=REDIS_TRANSPORT,
            transport_options=_redis_options,
            publisher_options=_no_options,
        ),
        # Brokers that kombu offers and nobody here has tested: `bus_conformance` tells.
        BrokerProfile(
            name="other",
            priorities=_LARGER_FIRST,
            max_priority=None,
            exact_topics=False,
            reports_unroutable=False,
            confirms=False,
            replies_declare_queue=False,
            transport_options=_no_options,
            publisher_options=_no_options,
        ),
    )
}

#: Quorum queues refuse priorities, and a consumer's prefetch cannot change while it consumes. The
#: limit of deliveries is out of reach: without one RabbitMQ 4 drops a message after twenty, and
#: with -1, which is none for 4, RabbitMQ 3.10 drops it after the first.
_QUORUM: Final[Mapping[str, Any]] = {
    "max_priority": None,
    "requeues_in_front": False,
    "queue_arguments": {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000},
}

_SCHEMES: Final = {
    "sqlite": "sqlite",
    "amqp": "amqp",
    "amqps": "amqp",
    "pyamqp": "amqp",
    "redis": "redis",
    "rediss": "redis",
    "sentinel": "redis",
}


def profile_of(config: MessagingConfig) -> BrokerProfile:
    """Return what is known about the broker of a configuration, and wanted of it.

    Raises:
        ConfigurationError: as `profile_for`.
    """
    profile = profile_for(config.broker_url)
    is_quorum = profile.name == "amqp" and config.rabbitmq_queues == "quorum"
    return replace(profile, **_QUORUM) if is_quorum else profile


def profile_for(broker_url: str) -> BrokerProfile:
    """Return what is known about the broker at this URL.

    Raises:
        ConfigurationError: the URL names no scheme that kombu knows, or a file by a relative
            path, or Redis, and its libraries are not installed.
    """
    scheme = urlsplit(broker_url).scheme
    if scheme.partition("+")[0] not in TRANSPORT_ALIASES:
        raise ConfigurationError(
            f"BROKER_URL: expected a URL such as sqlite:////…, amqp://… or redis://…, "
            f"got one of {scheme or 'no'!r} scheme"
        )
    profile = PROFILES[_SCHEMES.get(scheme, "other")]
    if profile.name == "sqlite" and not broker_url.startswith("sqlite:////"):
        raise ConfigurationError(
            "BROKER_URL: expected an absolute path, which is four slashes as in "
            f"sqlite:////folder/broker.sqlite3, got {broker_url!r}: processes started in two "
            "folders would be on two brokers"
        )
    if profile.name == "redis":
        need("redis", "redis", "packaging", name="BROKER_URL")
    # Sentinel has a transport of its own, with another way to make clients.
    return replace(profile, transport=SENTINEL_TRANSPORT) if scheme == "sentinel" else profile


def shown(broker_url: str) -> str:
    """Return the URL of a broker, or those of several, as people may read it: no password."""
    return ";".join(map(maybe_sanitize_url, broker_url.split(";")))
