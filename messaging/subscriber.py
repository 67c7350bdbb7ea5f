"""The receiving half of a service: its bus, and the handlers that were registered for it."""

import functools
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from messaging.bus import MessageBus
from messaging.config import MessagingConfig
from messaging.retry import RetryPolicy

if TYPE_CHECKING:
    from pydantic import BaseModel

F = TypeVar("F", bound=Callable[..., Any])

#: What a communicator makes once, of its bus.
_OF_A_BUS: Final = ("bus", "_requester", "_directory", "celery_app")


class Subscriber:
    """Registers handlers, at import already; the bus that they are for is made when needed.

    Args:
        config: the settings; None: ``settings.MESSAGING``, read when first needed.
    """

    def __init__(self, config: MessagingConfig | None) -> None:
        self._config = config
        self._subscribed: list[Callable[[MessageBus], object]] = []
        #: Whether it speaks over the bus of the settings, as others of this process do.
        self.uses_settings = config is None
        _subscribers.add(self)

    @functools.cached_property
    def bus(self) -> MessageBus:
        """The bus underneath."""
        bus = _make_bus(self) if self.uses_settings else MessageBus(self.config)
        for subscribe in self._subscribed:
            subscribe(bus)
        return bus

    @property
    def config(self) -> MessagingConfig:
        """The settings.

        Raises:
            ConfigurationError: none were given, and ``settings.MESSAGING`` is missing or wrong.
        """
        if self._config is None:
            from messaging.apps import configured

            self._config = configured()
        return self._config

    def on_message(
        self,
        pattern: str,
        *,
        retry: RetryPolicy | None = None,
        atomic: bool = False,
        timeout: float | None = None,
        schema: "type[BaseModel] | None" = None,
        answers: Any = None,
        senders: Iterable[str] | None = None,
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
            schema: a pydantic model: ``data`` is an instance of it then. Data that does not
                validate never reaches the function: a request is answered with the code
                ``invalid``, anything else is parked with that reason, both with a line for each
                wrong field. The registry publishes its JSON Schema.
            answers: what it returns: a model, or another type that pydantic knows. The registry
                publishes its JSON Schema; where ``check_sends`` is ``raise``, an answer that is
                something else is an error of the handler.
            senders: names of the services that may send it; None: all. Of others a request is
                answered with the code ``forbidden``, anything else is parked as ``rejected``. That
                a message is of who it says is known only where messages are signed.

        Raises:
            ConfigurationError: no pattern, a second handler for it, another signature of the
                function, no model, no names.
        """

        def register(function: F) -> F:
            self._subscribe_with(
                lambda bus: bus.subscribe(
                    pattern,
                    function,
                    retry=retry,
                    atomic=atomic,
                    timeout=timeout,
                    schema=schema,
                    answers=answers,
                    senders=senders,
                )
            )
            return function

        return register

    def subscribe_built_in(
        self, pattern: str, function: Callable[..., Any], *, of_gateway: bool = False
    ) -> None:
        """Register one of the library's own handlers; the service may replace it.

        Args:
            pattern: a message type.
            function: see `on_message`.
            of_gateway: whether nobody but the gateway may send that.
        """
        self._subscribe_with(
            lambda bus: bus.subscribe(
                pattern,
                function,
                built_in=True,
                senders=(bus.config.gateway_name,) if of_gateway else None,
            )
        )

    def _subscribe_with(self, subscribe: Callable[[MessageBus], object]) -> None:
        # Handlers are registered at import, before settings may be read: the bus comes later.
        self._subscribed.append(subscribe)
        if "bus" in self.__dict__:
            subscribe(self.bus)


#: Weak: whoever uses a communicator holds it.
_subscribers: "weakref.WeakSet[Subscriber]" = weakref.WeakSet()


def _bus_of_settings(subscriber: Subscriber) -> MessageBus:
    return MessageBus(subscriber.config)


_make_bus: Callable[[Subscriber], MessageBus] = _bus_of_settings


@contextmanager
def speaking_over(make_bus: Callable[[Subscriber], MessageBus]) -> Iterator[None]:
    """Have all communicators of this process use buses made so within the block, for tests.

    All but those that were given settings of their own; those made within the block as well. What
    they had before they have again afterwards.
    """
    global _make_bus
    before, _make_bus = _make_bus, make_bus
    kept = [(each, _taken_from(each)) for each in list(_subscribers) if each.uses_settings]
    try:
        yield
    finally:
        _make_bus = before
        for each in list(_subscribers):
            if each.uses_settings:
                _taken_from(each)
        for each, parts in kept:
            vars(each).update(parts)


def _taken_from(subscriber: Subscriber) -> dict[str, Any]:
    """Take away what it has made of its bus, and return it."""
    made = vars(subscriber)
    return {name: made.pop(name) for name in _OF_A_BUS if name in made}
