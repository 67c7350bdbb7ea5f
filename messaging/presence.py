"""How one instance makes itself known: registration, heartbeat, health, farewell."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from messaging.envelope import MessagePriority
from messaging.errors import CodecError, MessageTooLarge, MessagingError, PublishUncertain
from messaging.health_checks import HealthChecks
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
    instance look dead. It is sent whether or not the gateway runs, and at once when one of the
    service's own checks says something else than before.
    """

    def __init__(self, communicator: "ServiceCommunicator") -> None:
        self._communicator = communicator
        self._started_at = time.monotonic()
        self._is_stopped = False
        #: Set when the next heartbeat shall not wait for its time.
        self._is_due = threading.Event()
        #: The service's own checks.
        self.checks = HealthChecks()
        self.checks.on_change = self.hurry
        #: The worker's: says what it has in hand; see `worker.load`. None: this is no worker.
        self.load_of: Callable[[], dict[str, Any]] | None = None
        #: The worker's: takes what it has handled since; see `worker.flow`. None: no worker.
        self.flow_of: Callable[..., list[dict[str, Any]]] | None = None
        #: Taken, and not told yet.
        self._flow: list[dict[str, Any]] = []
        #: In a child of a worker: what the worker itself answers to a health check.
        self.told: Mapping[str, Any] | None = None
        self._thread: threading.Thread | None = None
        communicator.subscribe_built_in(HEALTH_CHECK, self._on_health_check)
        communicator.subscribe_built_in(REGISTERED, self._on_registered, of_gateway=True)
        communicator.subscribe_built_in(
            REGISTRATION_WANTED, self._on_registration_wanted, of_gateway=True
        )

    def start(self) -> None:
        """Register, and start heartbeat and checks. Call it when messages are being consumed."""
        self._started_at = time.monotonic()
        self._is_stopped = False
        self.checks.start()
        self._thread = threading.Thread(target=self._run, name="messaging-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop heartbeat and checks, and deregister. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self.checks.stop()
        self._is_stopped = True
        self._is_due.set()
        thread.join(self._communicator.bus.config.broker_timeout_seconds)
        self._try("deregister", self._deregister)

    def hurry(self) -> None:
        """Send the next heartbeat now: what it says has changed. May be called on any thread."""
        self._is_due.set()

    def health(self) -> dict[str, Any]:
        """Return what heartbeats and the answer to a health check say.

        Worth knowing to whoever reads it: a worker that no longer takes messages, though its
        heartbeat goes on, sends the same ``consumed`` again and again, with ``busy`` below
        ``capacity``.
        """
        load = {} if self.load_of is None else {"load": self.load_of()}
        return {
            "name": self._communicator.name,
            "id": self._communicator.identity.instance_id,
            "version": self._communicator.identity.version,
            "status": "UP",
            "uptime_seconds": round(time.monotonic() - self._started_at, 3),
            **load,
            "checks": self.checks.results(),
        }

    def _run(self) -> None:
        self._warn_of_dead_routes()
        self._try("register", self._register)
        while True:
            self._is_due.wait(self._communicator.bus.config.heartbeat_seconds)
            self._is_due.clear()
            if self._is_stopped:
                return
            self._try("announce", self._announce)

    def _try(self, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except MessagingError as exc:
            # The next heartbeat tells; the registry shows SUSPECT meanwhile, as it should.
            logger.warning("%s could not %s: %s", self._communicator.name, what, exc)
        except Exception:
            # Whatever it is: without this thread a worker that works would count as dead.
            logger.exception("%s could not %s", self._communicator.name, what)

    def _register(self) -> None:
        """Register with as much of the contract as a message holds."""
        handlers = self._communicator.bus.handlers
        schemas = {"schemas": handlers.schemas()}
        sends = [sent.to_json() for sent in self._communicator.sent()]
        contract = {**schemas, "answers": handlers.answers(), "sends": sends}
        attempts: list[tuple[str, dict[str, Any]]] = [
            ("what it sends and answers", contract),
            ("its schemas", schemas),
            ("", {"schemas": {}}),
        ]
        for left_out, said in attempts:
            try:
                self._send_registration(said)
            except MessageTooLarge as exc:
                if not left_out:
                    raise
                name = self._communicator.name
                logger.warning("%s registers without %s: %s", name, left_out, exc)
            else:
                return

    def _warn_of_dead_routes(self) -> None:
        """Say which routes nothing here will ever answer."""
        identity, handlers = self._communicator.identity, self._communicator.bus.handlers
        for route in identity.routes:
            if route.message and handlers.find(route.message) is None:
                logger.warning(
                    "%s: nothing handles %r, which the route %s leads to",
                    identity.name,
                    route.message,
                    route.path,
                )
            elif not route.message and identity.port is None:
                logger.warning(
                    "%s: the route %s leads to an HTTP server, and the service names no port",
                    identity.name,
                    route.path,
                )

    def _send_registration(self, contract: Mapping[str, Any]) -> None:
        handlers = self._communicator.bus.handlers
        self._communicator.send_to_service(
            self._gateway,
            REGISTER,
            self._communicator.identity.to_json(
                handles=handlers.types(),
                subscriptions=handlers.patterns(),
                recurring=[each.to_json() for each in self._communicator.recurrences()],
                **contract,
            ),
            priority=MessagePriority.HIGH,
        )

    def _announce(self) -> None:
        config = self._communicator.bus.config
        data = {**self._communicator.identity.where_to_json(), **self.health()}

        def tell(flow: dict[str, Any]) -> None:
            self._communicator.tell(
                self._gateway, ANNOUNCE, {**data, **flow}, expires_in=config.suspect_seconds
            )

        self._with_flow(tell)

    def _deregister(self) -> None:
        identity = self._communicator.identity

        def tell(flow: dict[str, Any]) -> None:
            self._communicator.send_to_service(
                self._gateway,
                DEREGISTER,
                {"name": identity.name, "id": identity.instance_id, **flow},
                priority=MessagePriority.HIGH,
            )

        self._with_flow(tell, is_last=True)

    def _with_flow(self, tell: Callable[[dict[str, Any]], None], *, is_last: bool = False) -> None:
        """Tell something with what has been handled since; without it rather than not at all."""
        if self.flow_of is not None and not self._flow:
            self._flow = self.flow_of(is_last=is_last)
        try:
            tell({"flow": self._flow} if self._flow else {})
        except PublishUncertain:
            self._flow = []  # maybe told: rather missing than there twice
            raise
        except CodecError as exc:
            if not self._flow:
                raise
            logger.warning("%s cannot tell what it has handled: %s", self._communicator.name, exc)
            tell({})
        self._flow = []

    @property
    def _gateway(self) -> str:
        return self._communicator.bus.config.gateway_name

    def _on_health_check(self, _data: Any) -> dict[str, Any]:
        return self.health() if self.told is None else dict(self.told)

    def _on_registered(self, data: Any) -> None:
        logger.info("%s is registered: %s", self._communicator.name, data)
        for route in data.get("refused", ()):
            logger.warning(
                "%s: the gateway refused the route %s: %s",
                self._communicator.name,
                route.get("path"),
                route.get("reason"),
            )

    def _on_registration_wanted(self, data: Any) -> None:
        # Any instance of the service may get this. The one that is meant announces itself again
        # and is asked again, until it does.
        if data["id"] == self._communicator.identity.instance_id:
            self._register()
