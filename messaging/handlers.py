"""Which function handles which message type."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from messaging.async_loop import run_coroutine
from messaging.envelope import Envelope, MessageKind, MessagePriority, is_service_name
from messaging.errors import ConfigurationError, Reject
from messaging.patterns import is_literal, is_pattern, matches, specificity
from messaging.retry import DEFAULT_POLICIES, RetryPolicy
from messaging.schemas import DeclaredType, json_schema, require_model, validated

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """One function and the messages it is for."""

    pattern: str
    function: Callable[..., Any]
    takes_message: bool
    is_async: bool
    retry: RetryPolicy | None
    #: Whether it runs in the transaction that notes the message as handled.
    atomic: bool = False
    #: Seconds one run may take; None: the setting.
    timeout: float | None = None
    #: What the data is validated by, a model of pydantic's; None: it comes as it is.
    schema: "type[BaseModel] | None" = None
    #: What it answers; None: it does not say.
    answers: DeclaredType | None = None
    #: Whether each answer is looked at before it is sent.
    checks_answers: bool = False
    #: The library's own: answered by every service, not bound to broadcasts.
    built_in: bool = False
    #: The services that may send it; None: all.
    senders: frozenset[str] | None = None
    #: The gateway's: returns how many copies of a broadcast it made.
    is_fan_out: bool = False

    def policy(self, envelope: Envelope) -> RetryPolicy:
        """Return when to try a message again that this handler failed.

        CRITICAL is tried for ever, whatever the handler's own policy says of that.
        """
        if self.retry is None:
            return DEFAULT_POLICIES[envelope.priority]
        if envelope.priority is MessagePriority.CRITICAL:
            return self.retry.for_ever()
        return self.retry

    def call_in_transaction(self, envelope: Envelope) -> Any:
        """Run the function, in a database transaction if it asked for one."""
        if not self.atomic:
            return self.call(envelope)
        from django.db import transaction

        with transaction.atomic():
            return self.call(envelope)

    def call(self, envelope: Envelope) -> Any:
        """Run the function and return what it returns; an async one to its end.

        Raises:
            Reject: its source may not send it; the function was not called.
            InvalidData: the data does not validate; the function was not called.
            EncodeError: the answer is not what it says that it answers; where that is checked.
        """
        if self.senders is not None and envelope.source not in self.senders:
            raise Reject(f"{envelope.source} may not send {envelope.type}", code="forbidden")
        data = envelope.data if self.schema is None else validated(self.schema, envelope.data)
        arguments = (data, envelope) if self.takes_message else (data,)
        result = self.function(*arguments)
        result = run_coroutine(result) if self.is_async else result
        if self.checks_answers and self.answers and envelope.kind is MessageKind.REQUEST:
            self.answers.check(result, f"the answer to {envelope.type}")
        return result


def fan_out_handler(function: Callable[[Envelope], int]) -> Handler:
    """Return the handler that makes a copy of a broadcast for each subscriber."""
    return Handler(
        pattern="#",
        function=lambda _data, message: function(message),
        takes_message=True,
        is_async=False,
        retry=None,
        atomic=True,
        is_fan_out=True,
    )


class HandlerTable:
    """The handlers of one service; of those that match a type, the most specific one has it.

    Args:
        checks_answers: whether answers are looked at before they are sent.
    """

    def __init__(self, *, checks_answers: bool = False) -> None:
        self._checks_answers = checks_answers
        self._handlers: dict[str, Handler] = {}
        self._found: dict[str, Handler | None] = {}

    def add(
        self,
        pattern: str,
        function: Callable[..., Any],
        *,
        retry: RetryPolicy | None = None,
        atomic: bool = False,
        timeout: float | None = None,
        schema: "type[BaseModel] | None" = None,
        answers: Any = None,
        senders: Iterable[str] | None = None,
        built_in: bool = False,
    ) -> Handler:
        """Register a function; see `MessageBus.subscribe`."""
        if not is_pattern(pattern):
            raise ConfigurationError(
                f"on_message: expected a type or topic pattern such as 'document.*', "
                f"got {pattern!r}"
            )
        known = self._handlers.get(pattern)
        if known is not None and not known.built_in:
            raise ConfigurationError(
                f"on_message: {pattern!r} is handled by {_name(known.function)} already, "
                f"got {_name(function)} as well"
            )
        is_async = inspect.iscoroutinefunction(function)
        if atomic and is_async:
            # Its database work happens on other threads, outside of the transaction.
            raise ConfigurationError(
                f"on_message: expected a plain function with atomic=True, got {_name(function)}, "
                "which is async"
            )
        if timeout is not None and not timeout > 0:
            raise ConfigurationError(f"on_message: expected a timeout > 0, got {timeout!r}")
        handler = Handler(
            pattern=pattern,
            function=function,
            takes_message=_takes_message(function),
            is_async=is_async,
            retry=retry,
            atomic=atomic,
            timeout=timeout,
            schema=require_model(schema),
            answers=None if answers is None else DeclaredType(answers, "on_message: answers"),
            checks_answers=self._checks_answers,
            senders=_names(senders),
            built_in=built_in,
        )
        self._handlers[pattern] = handler
        self._found.clear()
        return handler

    def find(self, message_type: str) -> Handler | None:
        """Return the handler for a type; None if no pattern matches it."""
        try:
            return self._found[message_type]
        except KeyError:
            pass
        if len(self._found) >= 10_000:  # types come from outside: memory must not
            self._found.clear()
        self._found[message_type] = handler = self._search(message_type)
        return handler

    def patterns(self) -> list[str]:
        """Return every pattern the service itself registered, sorted."""
        return sorted(h.pattern for h in self._handlers.values() if not h.built_in)

    def longest_timeout(self) -> float:
        """Return the longest time in seconds that a handler names for itself; 0: none does."""
        return max((h.timeout for h in self._handlers.values() if h.timeout), default=0.0)

    def types(self) -> list[str]:
        """Return the patterns that are plain message types, sorted."""
        return [pattern for pattern in self.patterns() if is_literal(pattern)]

    def schemas(self) -> dict[str, dict[str, Any]]:
        """Return the JSON Schema by pattern, of the service's own handlers that have a model."""
        models = {pattern: self._handlers[pattern].schema for pattern in self.patterns()}
        found = {name: json_schema(model) for name, model in models.items() if model is not None}
        return {name: schema for name, schema in found.items() if schema is not None}

    def answers(self) -> dict[str, dict[str, Any]]:
        """Return the JSON Schema of what handlers answer by pattern, of those that say so."""
        types = {pattern: self._handlers[pattern].answers for pattern in self.patterns()}
        found = {name: each.schema for name, each in types.items() if each is not None}
        return {name: schema for name, schema in found.items() if schema is not None}

    def _search(self, message_type: str) -> Handler | None:
        exact = self._handlers.get(message_type)
        if exact is not None:
            return exact
        candidates = [h for h in self._handlers.values() if matches(h.pattern, message_type)]
        return max(candidates, key=lambda h: specificity(h.pattern), default=None)


def _takes_message(function: Callable[..., Any]) -> bool:
    """Return whether the function takes (data, message) rather than (data)."""
    signature = inspect.signature(function)
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count == 2
    raise ConfigurationError(
        f"on_message: expected a function of (data) or (data, message), "
        f"got {_name(function)}{signature}"
    )


def _names(senders: Iterable[str] | None) -> frozenset[str] | None:
    if senders is None:
        return None
    names = () if isinstance(senders, str) else frozenset(senders)
    if not names or not all(is_service_name(name) for name in names):
        raise ConfigurationError(
            f"on_message: expected senders to be names of services, got {senders!r}"
        )
    return frozenset(names)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))
