"""What a service tells the gateway about itself, and the names of the messages it does so with."""

import json
import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from messaging.errors import ConfigurationError
from messaging.routes import Route

REGISTER: Final = "service.register"
REGISTERED: Final = "service.registered"
ANNOUNCE: Final = "service.announce"
DEREGISTER: Final = "service.deregister"
HEALTH_CHECK: Final = "service.health.check"
DISCOVER: Final = "service.discover"
#: The gateway does not know what this instance offers and asks it to register again.
REGISTRATION_WANTED: Final = "service.registration.wanted"
DEAD_LETTER: Final = "bus.dead_letter"
#: Sent to the gateway by its beat: time to look for silent instances, to ask for health.
REGISTRY_SWEEP: Final = "bus.registry.sweep"
HEALTH_ROUND: Final = "bus.health.round"
#: …to add up what workers said that they handled.
FLOW_SUMS: Final = "bus.flow.sums"
#: …to look what waits for whom.
QUEUE_LOOK: Final = "bus.queue.look"
#: …to go on with replays of many dead letters.
REPLAY_STEP: Final = "bus.replay.step"
#: Sent to the gateway by itself: time to send a message that recurs.
RECURRING_DUE: Final = "bus.recurring.due"

#: Worth nothing once they are late: dropped then, not put on record.
PERISHABLE: Final = frozenset(
    {
        ANNOUNCE,
        HEALTH_CHECK,
        REGISTRATION_WANTED,
        REGISTERED,
        REGISTRY_SWEEP,
        HEALTH_ROUND,
        FLOW_SUMS,
        QUEUE_LOOK,
        REPLAY_STEP,
    }
)
#: What the library says of itself, beyond any limit of sending.
INTERNAL: Final = PERISHABLE | {REGISTER, DEREGISTER, DISCOVER, DEAD_LETTER, RECURRING_DUE}

#: As JSON: every instance sends it, and pages show it.
MAX_METADATA_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who is speaking: one running instance of one service."""

    name: str
    version: str
    host: str = field(default_factory=socket.gethostname)
    #: Port of the service's own HTTP server; None where it has none.
    port: int | None = None
    #: Path of its health endpoint on that port.
    health_endpoint: str | None = None
    routes: Sequence[Route] = ()
    #: Free for the application.
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Unique to this start of this process.
    instance_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def node_name(self) -> str:
        """Return Celery's node name, unique to this start.

        RabbitMQ keeps the exclusive control queue of a killed worker until it notices; a new
        worker under the same name is refused meanwhile (405 RESOURCE_LOCKED).
        """
        return f"{self.name}@{self.host}-{os.getpid()}-{self.instance_id[:6]}"

    def where_to_json(self) -> dict[str, Any]:
        """Return what heartbeats carry of it: enough for a registry that has forgotten it."""
        return {
            "name": self.name,
            "id": self.instance_id,
            "version": self.version,
            "host": self.host,
            "port": self.port,
            "healthEndpoint": self.health_endpoint,
        }

    def to_json(
        self,
        handles: Sequence[str],
        subscriptions: Sequence[str],
        schemas: Mapping[str, Mapping[str, Any]],
        answers: Mapping[str, Mapping[str, Any]] | None = None,
        sends: Sequence[Mapping[str, Any]] = (),
        recurring: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Return the data of ``service.register``.

        Args:
            handles: message types that it has a handler for.
            subscriptions: patterns of its handlers.
            schemas: JSON Schemas of what handlers take, by pattern.
            answers: of what they answer, by pattern.
            sends: what it declares that it sends, as `contracts.contract.SentMessage` has it.
            recurring: what the gateway shall send again and again, as `Recurrence` has it.
        """
        return {
            **self.where_to_json(),
            "routes": [route.to_json() for route in self.routes],
            "handles": list(handles),
            "subscriptions": list(subscriptions),
            "schemas": dict(schemas),
            "answers": dict(answers or {}),
            "sends": list(sends),
            "recurring": list(recurring),
            "metadata": {"pid": os.getpid(), **self.metadata},
        }


def checked_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what an instance says about itself, as it will arrive.

    Raises:
        ConfigurationError: it is no JSON object, or larger than `MAX_METADATA_BYTES`.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise ConfigurationError(f"metadata: expected a JSON object, got {metadata!r:.100}")
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as exc:  # also lone surrogates
        raise ConfigurationError(
            f"metadata: expected a JSON object, got {metadata!r:.100}: {exc}"
        ) from exc
    if len(text) > MAX_METADATA_BYTES:
        raise ConfigurationError(
            f"metadata: expected at most {MAX_METADATA_BYTES} bytes of JSON, got {len(text)}"
        )
    return dict(json.loads(text))
