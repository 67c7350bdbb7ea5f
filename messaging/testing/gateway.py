"""A stand-in for the gateway: takes dead letters, copies broadcasts, knows who is there."""

from collections.abc import Callable, Sequence
from typing import Any

from messaging.communicator import ServiceCommunicator
from messaging.deadletter import DeadLetter
from messaging.errors import Reject
from messaging.registration import DEAD_LETTER, DISCOVER


class _NotFound(Reject):
    """There is no such service."""

    code = "not_found"


def stand_in(
    name: str,
    letters: list[DeadLetter],
    services: Callable[[], Sequence[ServiceCommunicator]],
) -> ServiceCommunicator:
    """Return what a service sees of the gateway.

    Args:
        name: of the gateway.
        letters: where dead letters are put.
        services: those that are there.
    """
    gateway = ServiceCommunicator(name, version="stand-in")

    @gateway.on_message(DEAD_LETTER)
    def keep_letter(data: Any) -> None:
        letters.append(DeadLetter.from_json(data))

    @gateway.on_message(DISCOVER)
    def tell(data: Any) -> dict[str, Any]:
        for service in services():
            if service.name == data["name"]:
                return _entry(service)
        raise _NotFound(f"there is no service {data['name']!r}")

    def subscribers_of(message_type: str) -> list[str]:
        return [each.name for each in services() if takes(each, message_type)]

    gateway.subscribers_of = subscribers_of
    return gateway


def takes(service: ServiceCommunicator, message_type: str) -> bool:
    """Return whether a service has subscribed to a type; the library's own handlers do not."""
    handler = service.bus.handlers.find(message_type)
    return handler is not None and not handler.built_in


def _entry(service: ServiceCommunicator) -> dict[str, Any]:
    identity, handlers = service.identity, service.bus.handlers
    instance = {
        "id": identity.instance_id,
        "host": identity.host,
        "port": identity.port,
        "state": "UP",
        "healthEndpoint": identity.health_endpoint,
    }
    return {
        "name": identity.name,
        "state": "UP",
        "version": identity.version,
        "instances": [instance],
        "routes": [route.to_json() for route in identity.routes],
        "handles": handlers.types(),
        "subscriptions": handlers.patterns(),
    }
