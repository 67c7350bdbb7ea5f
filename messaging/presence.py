"""How one instance makes itself known: registration, heartbeat, health, farewell."""

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from messaging.envelope import MessagePriority
from messaging.errors import MessagingError
from messaging.registration import (
    ANNOUNCE,
    DEREGISTER,
    HEALTH_CHECK,
    REGISTER,
    REGISTERED,
    REGISTRATION_WANTED,
)

if TYPE_CHECKING:
    from messaging.communicator import ServiceCommunicator

logger = logging.getLogger(__name__)


class Presence:
    """Registers with the gateway and says every ``heartbeat_seconds`` that this instance lives.

    The heartbeat has a thread of its own, so neither a busy pool nor a slow broker loop makes an
    instance look dead. It is sent whether or not the gateway runs.
    """

    def __init__(self, communicator: "ServiceCommunicator") -> None:
        self._communicator = communicator
        self._started_at = time.monotonic()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        communicator.subscribe_built_in(HEALTH_CHECK, self._on_health_check)
        communicator.subscribe_built_in(REGISTERED, self._on_registered)
        communicator.subscribe_built_in(REGISTRATION_WANTED, self._on_registration_wanted)

    def start(self) -> None:
        """Register, and start the heartbeat. Call it when messages are being consumed."""
        self._started_at = time.monotonic()
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name="messaging-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the heartbeat and deregister. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopped.set()
        thread.join(self._communicator.bus.config.broker_timeout_seconds)
        self._try("deregister", self._deregister)

    def health(self) -> dict[str, Any]:
        """Return what the answer to a health check says."""
        return {
            "name": self._communicator.name,
            "id": self._communicator.identity.instance_id,
            "version": self._communicator.identity.version,
            "status": "UP",
            "uptime_seconds": round(time.monotonic() - self._started_at, 3),
        }

    def _run(self) -> None:
        self._try("register", self._register)
        while not self._stopped.wait(self._communicator.bus.config.heartbeat_seconds):
            self._try("announce", self._announce)

    def _try(self, what: str, act: Any) -> None:
        try:
            act()
        except MessagingError as exc:
            # The next heartbeat tells; the registry shows SUSPECT meanwhile, as it should.
            logger.warning("%s could not %s: %s", self._communicator.name, what, exc)

    def _register(self) -> None:
        handlers = self._communicator.bus.handlers
        identity = self._communicator.identity
        self._communicator.send_to_service(
            self._gateway,
            REGISTER,
            identity.to_json(handles=handlers.types(), subscriptions=handlers.patterns()),
            priority=MessagePriority.HIGH,
        )

    def _announce(self) -> None:
        config = self._communicator.bus.config
        self._communicator.tell(
            self._gateway, ANNOUNCE, self.health(), expires_in=config.suspect_seconds
        )

    def _deregister(self) -> None:
        identity = self._communicator.identity
        self._communicator.send_to_service(
            self._gateway,
            DEREGISTER,
            {"name": identity.name, "id": identity.instance_id},
            priority=MessagePriority.HIGH,
        )

    @property
    def _gateway(self) -> str:
        return self._communicator.bus.config.gateway_name

    def _on_health_check(self, _data: Any) -> dict[str, Any]:
        return self.health()

    def _on_registered(self, data: Any) -> None:
        logger.info("%s is registered: %s", self._communicator.name, data)
        for route in data.get("refused", ()):
            logger.warning("%s: the gateway refused a route: %s", self._communicator.name, route)

    def _on_registration_wanted(self, data: Any) -> None:
        # Any instance of the service may get this. The one that is meant announces itself again
        # and is asked again, until it does.
        if data["id"] == self._communicator.identity.instance_id:
            self._register()
