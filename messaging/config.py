"""``settings.MESSAGING`` as one frozen, validated object. Built once, passed on as an argument."""

import difflib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from messaging.envelope import is_service_name
from messaging.errors import ConfigurationError
from messaging.routes import AUTH
from messaging.signing import Keyring

WORKER_POOLS = ("threads", "prefork", "solo")
LEDGERS = ("critical", "all")
QUEUE_FULL = ("refuse", "park")
RABBITMQ_QUEUES = ("classic", "quorum")
TELEMETRY = ("", "opentelemetry")
CHECK_SENDS = ("off", "raise")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagingConfig:
    """Every setting of the library with its default and unit.

    Durations are seconds. An unknown key, a value of the wrong kind and a contradiction between
    two settings raise `ConfigurationError`.
    """

    #: Where the broker is: ``sqlite:////path``, ``amqp://…`` or ``redis://…``.
    broker_url: str = field(repr=False)
    #: Put before every queue and exchange name, so that installations can share a broker.
    namespace: str = ""
    #: The service that keeps the registry and the dead letters.
    gateway_name: str = "api-gateway"

    #: Messages are signed with the first of these keys that may speak for their sender, and
    #: checked with all: ``id:secret`` or ``id@service:secret``, by commas. Empty: not signed.
    signing_keys: str = field(default="", repr=False)
    #: While keys are being given out: what is not signed is believed until this instant, in
    #: ISO 8601 with an offset.
    unsigned_until: str = ""

    #: How often every instance says that it lives.
    heartbeat_seconds: float = 5.0
    #: Silent for so long: SUSPECT. Three heartbeats, so that one lost message is no alarm.
    suspect_seconds: float = 15.0
    #: Silent for so long: DOWN.
    down_seconds: float = 30.0
    #: Silent for so long: the instance is forgotten.
    gone_seconds: float = 600.0
    #: How often the gateway asks every service for its health.
    health_check_seconds: float = 30.0
    #: How long the health endpoint of an instance may take.
    probe_timeout_seconds: float = 0.5
    #: So many failures of it in a row: DOWN. One success: up again.
    probe_failures: int = 3
    #: What waited for a service that was down is let out in batches that double every
    #: ``heartbeat_seconds``, the first of this size.
    ramp_batch: int = 100

    #: HTTP gateway: longest wait for the head of a proxied response, and between its parts.
    http_timeout_seconds: float = 30.0
    #: Longest wait for a connection to an instance.
    http_connect_seconds: float = 1.0
    #: Largest body that is proxied; what goes over the bus has ``max_message_bytes``.
    http_max_body_bytes: int = 1_073_741_824
    #: Requests at one time in one process of the gateway.
    http_concurrency: int = 1000
    #: …of one client there.
    http_client_concurrency: int = 200
    #: Requests a second of one client to one route; 0: as many as it likes.
    http_rate: float = 0.0
    #: Failures in a row after which an instance gets no proxied request for a while…
    breaker_failures: int = 5
    #: …this long; then one request tries it.
    breaker_open_seconds: float = 10.0
    #: Who may call routes that do not say so themselves: ``token`` (an API token is needed),
    #: ``none`` (anybody); empty: ``none`` while DJANGO_DEBUG is on, else ``token``.
    http_auth: str = ""
    #: Where the gateway may connect to, for proxied requests and health endpoints: networks such
    #: as ``10.0.0.0/8``, separated by commas. Empty: everything but link-local addresses and those
    #: of cloud metadata; once DJANGO_DEBUG is off not this host itself, nor multicast, either.
    upstream_networks: str = ""
    #: Origins whose pages may call ``/api/``, separated by commas; ``*``: all.
    cors_origins: str = ""
    #: What a field of a payload is named by whose value pages do not show: words, by commas.
    redacted_fields: str = "password,secret,token,authorization,email,phone,iban,card,ssn"

    #: How long `request` waits for an answer where the caller names no timeout.
    request_timeout_seconds: float = 30.0
    #: Longest wait for a broker to connect, to take a message and to confirm it.
    broker_timeout_seconds: float = 4.0
    #: Largest encoded message.
    max_message_bytes: int = 262_144
    #: A command that goes straight to the broker is not sent while so many wait for its service.
    #: Looked at once a second by each process that sends. 0: no limit.
    max_queue_length: int = 0
    #: …what becomes of it then: ``refuse`` raises `QueueFull`, ``park`` makes it a dead letter.
    queue_full: str = "refuse"
    #: Messages a second that one process may send; 0: as many as it likes.
    send_rate: float = 0.0

    #: ``raise``: what is sent or answered is held against what the service declares that it sends,
    #: and refused if it is something else. For development and tests; ``off`` costs nothing.
    check_sends: str = "off"

    #: Pool of the workers: threads (`worker.pool`), or Celery's prefork (hard time limits) or solo
    #: (tests only).
    worker_pool: str = "threads"
    #: Messages one worker handles at the same time.
    worker_concurrency: int = 4
    #: Folder in which workers write that they live, for `probe`; empty: nowhere.
    pulse_folder: str = ""
    #: Socket on which systemd is told the same (its NOTIFY_SOCKET); empty: it is not.
    notify_socket: str = ""
    #: How often the relay looks for messages that are due; later ones it sees ahead of time.
    relay_tick_seconds: float = 0.5

    #: ``opentelemetry``: a span for each message sent and handled. Empty: none.
    telemetry: str = ""

    #: How long a receipt may take when nothing is in its way, before the first look.
    receipt_timeout_seconds: float = 30.0
    #: A run of a handler that takes longer counts as hung: another worker may begin it again.
    handler_timeout_seconds: float = 300.0
    #: A message in whose runs so many processes died is parked.
    max_worker_deaths: int = 3
    #: Which messages are answered for until their outcome: ``critical``, or ``all``.
    ledger: str = "critical"
    #: How long outcomes, payloads and the memory of duplicates are kept.
    retention_days: float = 7.0
    #: The memory of duplicates of messages under custody.
    dedup_days: float = 30.0

    #: Embedded broker: an instance that is alive but frozen loses its messages after this.
    lease_seconds: float = 60.0
    #: Embedded broker: waiting this long moves a message up one priority; 0 turns it off.
    ageing_seconds: float = 60.0
    #: RabbitMQ: ``quorum``, where its nodes keep copies of all queues that last, on RabbitMQ 3.10
    #: and later; they have no priorities (docs/production.md). ``classic``: one node each.
    rabbitmq_queues: str = "classic"
    #: Redis: what a killed worker held comes back after this. Longer than any handler runs,
    #: or Redis hands the message to a second worker meanwhile.
    redis_visibility_timeout_seconds: int = 600

    def __post_init__(self) -> None:
        for each in fields(self):
            self._check_kind(each.name, each.type)
        self._check_rules()

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> Self:
        """Return the configuration for a ``MESSAGING`` dict; keys in any case.

        Raises:
            ConfigurationError: unknown key (the text names the nearest match) or bad value.
        """
        known = {each.name: each.type for each in fields(cls)}
        values: dict[str, Any] = {}
        for key, value in settings.items():
            name = key.lower()
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ConfigurationError(f"MESSAGING[{key!r}]: unknown setting{hint}")
            values[name] = _from_text(name, value, known[name])
        if "broker_url" not in values:
            raise ConfigurationError("MESSAGING['broker_url']: expected a URL, got nothing")
        return cls(**values)

    def _check_kind(self, name: str, kind: Any) -> None:
        value = getattr(self, name)
        allowed = {str: (str,), int: (int,), float: (int, float)}[kind]
        if not isinstance(value, allowed) or isinstance(value, bool):
            raise _wrong(name, f"expected {kind.__name__}", value)

    def _check_rules(self) -> None:
        if not is_service_name(self.gateway_name):
            raise _wrong("gateway_name", "expected a service name", self.gateway_name)
        if self.namespace and not is_service_name(self.namespace):
            raise _wrong("namespace", "expected letters, digits, - and _", self.namespace)
        Keyring.parse(self.signing_keys, unsigned_until=self.unsigned_until)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise _wrong(name, f"expected one of {choices}", getattr(self, name))
        if self.http_auth and self.http_auth not in AUTH:
            raise _wrong("http_auth", f"expected one of {AUTH} or nothing", self.http_auth)
        for network in filter(None, map(str.strip, self.upstream_networks.split(","))):
            try:
                ipaddress.ip_network(network)
            except ValueError as exc:
                raise _wrong("upstream_networks", f"expected a network ({exc})", network) from exc
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise _wrong(name, "expected more than 0", getattr(self, name))
        for name in ("ageing_seconds", "http_rate", "max_queue_length", "send_rate"):
            if getattr(self, name) < 0:
                raise _wrong(name, "expected 0 or more", getattr(self, name))
        if not self.suspect_seconds < self.down_seconds < self.gone_seconds:
            raise _wrong("down_seconds", "expected suspect < down < gone", self.down_seconds)
        if self.suspect_seconds < 2 * self.heartbeat_seconds:
            raise _wrong(
                "suspect_seconds", "expected at least 2 heartbeat_seconds", self.suspect_seconds
            )


_CHOICES = {
    "worker_pool": WORKER_POOLS,
    "ledger": LEDGERS,
    "telemetry": TELEMETRY,
    "check_sends": CHECK_SENDS,
    "queue_full": QUEUE_FULL,
    "rabbitmq_queues": RABBITMQ_QUEUES,
}
_POSITIVE = (
    "heartbeat_seconds",
    "suspect_seconds",
    "health_check_seconds",
    "probe_timeout_seconds",
    "probe_failures",
    "ramp_batch",
    "http_timeout_seconds",
    "http_connect_seconds",
    "http_max_body_bytes",
    "http_concurrency",
    "http_client_concurrency",
    "breaker_failures",
    "breaker_open_seconds",
    "request_timeout_seconds",
    "broker_timeout_seconds",
    "max_message_bytes",
    "worker_concurrency",
    "relay_tick_seconds",
    "receipt_timeout_seconds",
    "handler_timeout_seconds",
    "max_worker_deaths",
    "retention_days",
    "dedup_days",
    "lease_seconds",
    "redis_visibility_timeout_seconds",
)


def _from_text(name: str, value: Any, kind: Any) -> Any:
    """Turn the text of an environment variable into the kind the setting has."""
    if kind is str or not isinstance(value, str):
        return value
    try:
        return kind(value)
    except ValueError as exc:
        raise _wrong(name, f"expected {kind.__name__}", value) from exc


def _wrong(name: str, expected: str, got: object) -> ConfigurationError:
    return ConfigurationError(f"MESSAGING[{name!r}]: {expected}, got {got!r}")
