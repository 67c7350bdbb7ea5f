"""ServiceCommunicator: everything one service needs to talk to the others."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from messaging.answers import AnsweredRequests, reply_to
from messaging.config import MessagingConfig
from messaging.directory import Directory
from messaging.envelope import Envelope, MessageKind, MessagePriority, is_service_name
from messaging.errors import ConfigurationError
from messaging.presence import Presence
from messaging.registration import DISCOVER, Identity, checked_metadata
from messaging.requester import Requester
from messaging.routes import Route
from messaging.sender import Sender

if TYPE_CHECKING:
    from messaging.worker.app import BusApp

C = TypeVar("C", bound=Callable[[], Any])


class ServiceCommunicator(Sender):
    """Sends, broadcasts, asks, answers and handles messages under the name of one service.

    Thread-safe; safe across forks. Opens no connection and no database before the first use.

    Args:
        name: the service; its queue has the same name.
        version: of the service, shown in the registry.
        routes: HTTP routes of the gateway that this service answers, `Route` or dicts.
        health_endpoint: path of the service's own HTTP health endpoint, if it has a server.
        host: where that server is reached; None: this host.
        port: of that server.
        metadata: what else the registry shall show of this instance, a JSON object up to 4 KB.
        config: the settings; None: ``settings.MESSAGING``, read when first needed.
    """

    def __init__(
        self,
        name: str,
        *,
        version: str = "0",
        routes: Sequence[Route | Mapping[str, Any]] = (),
        health_endpoint: str | None = None,
        host: str | None = None,
        port: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        config: MessagingConfig | None = None,
    ) -> None:
        if not is_service_name(name):
            raise ConfigurationError(
                f"ServiceCommunicator: expected a name of letters, digits, - and _, got {name!r}"
            )
        where = {} if host is None else {"host": host}
        identity = Identity(
            name=name,
            version=version,
            port=port,
            health_endpoint=health_endpoint,
            routes=[Route.of(route) for route in routes],
            metadata=checked_metadata(metadata),
            **where,
        )
        super().__init__(identity, config)
        self._answered = AnsweredRequests()
        #: Registration, heartbeat and the answers to health checks.
        self.presence = Presence(self)
        #: The gateway's: names the services that get a broadcast which it answers for.
        self.subscribers_of: Callable[[str], Sequence[str]] | None = None

    @functools.cached_property
    def celery_app(self) -> "BusApp":
        """The Celery app that ``celery -A … worker`` finds. Imports Celery when first asked."""
        from messaging.worker.app import create_app

        return create_app(self)

    @functools.cached_property
    def _requester(self) -> Requester:
        return self.bus.new_requester(self._composer, self.name)

    @functools.cached_property
    def _directory(self) -> Directory:
        def ask(service: str, timeout: float) -> dict[str, Any]:
            gateway = self.bus.config.gateway_name
            return dict(self.request(gateway, DISCOVER, {"name": service}, timeout=timeout))

        return Directory(ask, self.bus.config.heartbeat_seconds)

    def health_check(self, name: str, *, every: float = 30.0) -> Callable[[C], C]:
        """Have workers run the decorated function as a check of what the service depends on.

        It takes no arguments and may be ``async def``. Returning None passes; a text, or whatever
        it raises, fails with that text. It runs at the start and then every so many seconds, on a
        thread of its own. A check that takes longer than its period has failed until it ends. A
        failing check makes the instance SUSPECT in the registry; it is served all the same.

        Args:
            name: shown in the registry.
            every: seconds between two runs, 1 at least.

        Raises:
            ConfigurationError: a name or period is not valid, or the function takes arguments.
        """

        def register(function: C) -> C:
            self.presence.checks.add(name, function, every)
            return function

        return register

    def request(
        self,
        target: str,
        message_type: str,
        data: Any = None,
        *,
        timeout: float | None = None,
        priority: MessagePriority | str = MessagePriority.HIGH,
        correlation_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> Any:
        """Ask one service and wait for its answer.

        Inside a handler of a request the wait is no longer than what that request has left.

        Args:
            target: name of the service.
            message_type: what is asked.
            data: any JSON value.
            timeout: seconds; None: ``request_timeout_seconds``.
            priority: HIGH unless given: somebody is waiting.
            correlation_id: as with `send_to_service`.
            headers: as with `send_to_service`.

        Returns:
            What the handler returned.

        Raises:
            ServiceNotFound: no service of that name ever started. NOT sent.
            RequestTimeout: no answer in time; whether it was handled is unknown.
            RemoteError: the handler failed.
            BrokerUnavailable: NOT sent; safe to ask again.
            ValueError, EncodeError, MessageTooLarge: cannot be sent.
        """
        with self.spans.sending(MessageKind.REQUEST, message_type, target) as span:
            envelope, seconds = self._requester.compose(
                target,
                message_type,
                data,
                timeout=timeout,
                priority=priority,
                correlation_id=correlation_id,
                headers=headers,
            )
            if span is not None:
                span.is_of(envelope)
            return self._requester.ask(envelope, seconds)

    async def request_async(
        self,
        target: str,
        message_type: str,
        data: Any = None,
        *,
        timeout: float | None = None,
        priority: MessagePriority | str = MessagePriority.HIGH,
        correlation_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> Any:
        """Ask one service without blocking the event loop; else as `request`.

        Raises besides:
            BrokerUnavailable: also where other requests waited for the broker all the time.
            PublishUncertain: the broker has not taken it in time. It may still, but then receivers
                find that it has expired.
        """
        with self.spans.sending(MessageKind.REQUEST, message_type, target) as span:
            envelope, seconds = self._requester.compose(
                target,
                message_type,
                data,
                timeout=timeout,
                priority=priority,
                correlation_id=correlation_id,
                headers=headers,
            )
            if span is not None:
                span.is_of(envelope)
            return await self._requester.ask_async(envelope, seconds)

    def respond(self, message: Envelope, data: Any = None) -> str:
        """Answer a request before its handler returns. Once: the handler's result is dropped then.

        Returns:
            The id of the reply.

        Raises:
            ValueError: the message is no request.
            AlreadySettled: it has been answered.
            Unroutable: the requester is gone. NOT sent. RabbitMQ tells later: it is logged then.
            BrokerUnavailable: NOT sent; safe to answer again.
        """
        if message.reply_to is None:
            raise ValueError(f"{message.type!r} ({message.kind}) wants no answer")
        with self._answered.answering(message.id):
            reply = reply_to(message, self.name, data)
            self.bus.round_trips.reply(reply, message.reply_to)
        return reply.id

    def discover(
        self, service: str, *, timeout: float | None = None, fresh: bool = False
    ) -> dict[str, Any]:
        """Return what the gateway's registry says of a service.

        An answer is given again for ``heartbeat_seconds``. When the gateway cannot be asked or
        fails, the last one it gave is returned, however old: ``as_of`` tells.

        Args:
            service: its name.
            timeout: seconds to wait for the gateway, as with `request`; with an old answer at hand
                it is ``heartbeat_seconds`` at most, and not again for as long.
            fresh: ask in any case, and have the error rather than an old answer.

        Returns:
            ``{name, state, version, instances: […], routes, handles, subscriptions}``, as one
            entry of ``bus_services --json``, and ``as_of``, when the gateway said so (ISO 8601).

        Raises:
            RemoteError: the gateway knows no such service.
            ServiceNotFound: nothing is known, and the gateway never started.
            RequestTimeout, BrokerUnavailable: nothing is known; else as with `request`.
        """
        seconds = self.bus.config.request_timeout_seconds if timeout is None else timeout
        return self._directory.find(service, seconds, fresh=fresh)

    def close(self) -> None:
        """Close connections and stop the reply thread. The communicator may be used again."""
        if "_requester" in self.__dict__:
            self._requester.close()
            del self.__dict__["_requester"]
        if "bus" in self.__dict__:
            self.bus.dispatch.flush()
            self.bus.close()

    def was_answered(self, message: Envelope) -> bool:
        """Return whether `respond` has answered this request."""
        return message.id in self._answered
