"""ServiceCommunicator: everything one service needs to talk to the others."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from messaging.answers import AnsweredRequests, reply_to
from messaging.bus import MessageBus
from messaging.compose import Composer
from messaging.config import MessagingConfig
from messaging.envelope import Envelope, MessageKind, MessagePriority, is_service_name
from messaging.errors import ConfigurationError
from messaging.parking import Parking
from messaging.presence import Presence
from messaging.registration import DISCOVER, Identity, Route
from messaging.requester import Requester
from messaging.retry import RetryPolicy

if TYPE_CHECKING:
    from messaging.worker.app import BusApp

F = TypeVar("F", bound=Callable[..., Any])


class ServiceCommunicator:
    """Sends, broadcasts, asks, answers and handles messages under the name of one service.

    Thread-safe; safe across forks. Opens no connection and no database before the first use.

    Args:
        name: the service; its queue has the same name.
        version: of the service, shown in the registry.
        routes: HTTP routes of the gateway that this service answers, `Route` or dicts.
        health_endpoint: path of the service's own HTTP health endpoint, if it has a server.
        host: where that server is reached; None: this host.
        port: of that server.
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
        config: MessagingConfig | None = None,
    ) -> None:
        if not is_service_name(name):
            raise ConfigurationError(
                f"ServiceCommunicator: expected a name of letters, digits, - and _, got {name!r}"
            )
        where = {} if host is None else {"host": host}
        self.identity = Identity(
            name=name,
            version=version,
            port=port,
            health_endpoint=health_endpoint,
            routes=[Identity.as_route(route) for route in routes],
            **where,
        )
        self._config = config
        self._subscribed: list[Callable[[MessageBus], object]] = []
        self._answered = AnsweredRequests()
        self._composer = Composer(name)
        #: Where messages go that this service gives up.
        self.parking = Parking(self)
        #: Registration, heartbeat and the answers to health checks.
        self.presence = Presence(self)
        #: The gateway's: names the services that get a broadcast which it answers for.
        self.subscribers_of: Callable[[str], Sequence[str]] | None = None

    @property
    def name(self) -> str:
        """The service this communicator speaks for."""
        return self.identity.name

    @functools.cached_property
    def bus(self) -> MessageBus:
        """The bus underneath."""
        if self._config is None:
            from messaging.apps import configured

            self._config = configured()
        bus = MessageBus(self._config)
        for subscribe in self._subscribed:
            subscribe(bus)
        return bus

    @functools.cached_property
    def celery_app(self) -> "BusApp":
        """The Celery app that ``celery -A … worker`` finds. Imports Celery when first asked."""
        from messaging.worker.app import create_app

        return create_app(self)

    @functools.cached_property
    def _requester(self) -> Requester:
        return Requester(self.bus, self._composer, self.name)

    def on_message(
        self,
        pattern: str,
        *,
        retry: RetryPolicy | None = None,
        atomic: bool = False,
        timeout: float | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function for the messages whose type matches the pattern.

        The function takes ``(data)`` or ``(data, message)`` and may be ``async def``. What it
        returns answers a request. It may be called again with the same message: after an
        exception as ``retry`` says, and after the loss of a worker. `messaging.Reject` parks the
        message, `messaging.Retry` tries it again later.

        Args:
            pattern: a type, or an AMQP topic pattern: ``document.*``, ``document.#``.
            retry: when to try again; None: what holds for the message's priority.
            atomic: run it in a database transaction that also notes the message as handled: what
                it writes to that database happens once, however often the message comes. Not for
                ``async def``. CRITICAL sent from inside goes out with the commit.
            timeout: seconds it may take; after that another worker may begin it again, and what
                this run does is refused. None: ``handler_timeout_seconds``.

        Raises:
            ConfigurationError: no pattern, a second handler for it, or another signature.
        """

        def register(function: F) -> F:
            self._subscribe(pattern, function, retry=retry, atomic=atomic, timeout=timeout)
            return function

        return register

    def send_to_service(
        self,
        target: str,
        message_type: str,
        data: Any = None,
        *,
        priority: MessagePriority | str = MessagePriority.NORMAL,
        delay: float | None = None,
        expires_in: float | None = None,
        correlation_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        dedup_key: str | None = None,
    ) -> str:
        """Send a command to one service; it waits there, also for a service never started.

        On return the broker has it, or the database where the broker is away (NORMAL and up) or
        where ``delay`` is given; a relay publishes it from there. On RabbitMQ, NORMAL sent outside
        of handlers may still be on its way: what the broker does not confirm goes to the database
        as long as this process lives. CRITICAL is always written to the database, in the caller's
        transaction and rolled back with it, and kept there until the receiver has told its
        outcome. Blocks for a few ``broker_timeout_seconds`` at most.

        Args:
            target: name of the service.
            message_type: what it is about, dot-separated.
            data: the payload, any JSON value.
            priority: a `MessagePriority` or its name.
            delay: seconds before it is sent.
            expires_in: seconds after which nobody may handle it any more.
            correlation_id: of the conversation; None: the handled message's, or its own id.
            headers: free for the application.
            dedup_key: what this service sends under one key is one message, sent again or not:
                it is handled once by each receiver, as long as that remembers it.

        Returns:
            The message id.

        Raises:
            ValueError: a name or duration is not valid. NOT sent.
            EncodeError, MessageTooLarge: cannot be sent.
            BrokerUnavailable: LOW only. NOT sent; safe to send again.
            PublishUncertain: LOW only. Maybe sent; sending again may double it.
        """
        envelope = self._composer.compose(
            MessageKind.COMMAND,
            message_type,
            data,
            target=target,
            priority=priority,
            expires_in=expires_in,
            delay=delay,
            correlation_id=correlation_id,
            headers=headers,
            dedup_key=dedup_key,
            under_custody=self.bus.keeps_custody(message_type, priority),
        )
        return self.bus.dispatch.send(envelope, delay=delay, may_repeat=dedup_key is not None)

    def broadcast(
        self,
        message_type: str,
        data: Any = None,
        *,
        priority: MessagePriority | str = MessagePriority.NORMAL,
        delay: float | None = None,
        expires_in: float | None = None,
        correlation_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        dedup_key: str | None = None,
    ) -> str:
        """Tell every service that subscribes to this type; each handles it once.

        A service is subscribed from its first start on, and gets what is broadcast while it is
        down. CRITICAL goes to the gateway, which answers for one copy for each service that is
        subscribed by then. Arguments, errors and promises as with `send_to_service`.

        Returns:
            The message id, the same for all.
        """
        envelope = self._composer.compose(
            MessageKind.EVENT,
            message_type,
            data,
            priority=priority,
            expires_in=expires_in,
            delay=delay,
            correlation_id=correlation_id,
            headers=headers,
            dedup_key=dedup_key,
            under_custody=self.bus.keeps_custody(message_type, priority),
        )
        return self.bus.dispatch.send(envelope, delay=delay, may_repeat=dedup_key is not None)

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
        envelope, seconds = self._requester.compose(
            target,
            message_type,
            data,
            timeout=timeout,
            priority=priority,
            correlation_id=correlation_id,
            headers=headers,
        )
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
        """Ask one service without blocking the event loop; else as `request`."""
        envelope, seconds = self._requester.compose(
            target,
            message_type,
            data,
            timeout=timeout,
            priority=priority,
            correlation_id=correlation_id,
            headers=headers,
        )
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

    def discover(self, service: str, *, timeout: float | None = None) -> dict[str, Any]:
        """Ask the gateway's registry about a service.

        Returns:
            ``{name, state, version, instances: […], routes, handles, subscriptions}``, as one
            entry of ``bus_services --json``.

        Raises:
            ServiceNotFound: the gateway never started, or RemoteError: it knows no such service.
            RequestTimeout, BrokerUnavailable: as with `request`.
        """
        answer = self.request(
            self.bus.config.gateway_name, DISCOVER, {"name": service}, timeout=timeout
        )
        return dict(answer)

    def tell(self, target: str, message_type: str, data: Any, *, expires_in: float) -> None:
        """Send a command that is worth nothing once it is late: never kept in the database.

        Raises:
            BrokerUnavailable, PublishUncertain: not sent, or maybe; the next one will tell.
        """
        envelope = self._composer.compose(
            MessageKind.COMMAND,
            message_type,
            data,
            target=target,
            priority=MessagePriority.HIGH,
            expires_in=expires_in,
        )
        self.bus.publish(envelope)

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

    def subscribe_built_in(self, pattern: str, function: Callable[..., Any]) -> None:
        """Register one of the library's own handlers; the service may replace it."""
        self._subscribe(pattern, function, built_in=True)

    def _subscribe(self, pattern: str, function: Callable[..., Any], **options: Any) -> None:
        # Handlers are registered at import, before settings may be read: the bus comes later.
        if "bus" in self.__dict__:
            self.bus.subscribe(pattern, function, **options)
        else:
            self._subscribed.append(lambda bus: bus.subscribe(pattern, function, **options))
