"""What one version of a service accepts, answers and sends."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from messaging.envelope import is_message_type, is_service_name
from messaging.patterns import is_pattern, matches, specificity

if TYPE_CHECKING:
    from messaging.communicator import ServiceCommunicator

#: Of the JSON of a contract. A reader refuses any other.
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a handler takes, and what it answers, as JSON Schemas."""

    #: None: it takes anything, or does not say.
    schema: Mapping[str, Any] | None = None
    #: None: it answers nothing, or does not say.
    answers: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that a service declares that it sends."""

    type: str
    #: The service it is for; None: it is broadcast.
    to: str | None
    #: JSON Schema of its data; None: it has none that can be published.
    schema: Mapping[str, Any] | None
    #: JSON Schema of what the sender needs of the answer; None: it does not say.
    answer: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as contracts have it."""
        answer = {} if self.answer is None else {"answer": self.answer}
        return {"type": self.type, "to": self.to, "schema": self.schema, **answer}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One version of one service."""

    service: str
    version: str
    #: By pattern of the handler.
    accepts: Mapping[str, Accepted] = field(default_factory=dict)
    sends: tuple[SentMessage, ...] = ()
    #: Types that HTTP routes lead to: callers of the gateway send them, and declare nothing.
    routed: frozenset[str] = frozenset()
    #: How many instances of it run; 0: none does now, and what was sent to it waits.
    instances: int = 0

    def __str__(self) -> str:
        return f"{self.service} {self.version or '(no version)'}"

    def handler_of(self, message_type: str) -> str | None:
        """Return the pattern whose handler gets messages of a type; None: there is none."""
        if message_type in self.accepts:
            return message_type
        found = [pattern for pattern in self.accepts if matches(pattern, message_type)]
        return max(found, key=specificity, default=None)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, in an order that does not depend on that of the code."""
        accepts = {
            pattern: {
                name: schema
                for name, schema in (("schema", each.schema), ("answers", each.answers))
                if schema is not None
            }
            for pattern, each in sorted(self.accepts.items())
        }
        sends = sorted(self.sends, key=lambda each: (each.type, each.to or ""))
        running = {"instances": self.instances} if self.instances else {}
        return {
            "contract": FORMAT,
            "service": self.service,
            "version": self.version,
            **running,
            "accepts": accepts,
            "sends": [each.to_json() for each in sends],
            "routed": sorted(self.routed),
        }

    def to_text(self) -> str:
        """Return it as text to be committed: the same for the same contract."""
        return json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def of(cls, communicator: "ServiceCommunicator") -> Self:
        """Return what a service says in this process, once its handlers are registered."""
        handlers, identity = communicator.bus.handlers, communicator.identity
        schemas, answers = handlers.schemas(), handlers.answers()
        return cls(
            service=identity.name,
            version=identity.version,
            accepts={
                pattern: Accepted(schemas.get(pattern), answers.get(pattern))
                for pattern in handlers.patterns()
            },
            sends=tuple(SentMessage(**each.to_json()) for each in communicator.sent()),
            routed=frozenset(route.message for route in identity.routes if route.message),
        )

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return the contract that `to_json` wrote.

        Raises:
            ValueError: it is none; the text says where.
        """
        if not isinstance(data, Mapping) or data.get("contract") != FORMAT:
            raise _wrong("data", f'a contract, {{"contract": {FORMAT}, …}}', data)
        service, version, instances = (data.get(k) for k in ("service", "version", "instances"))
        if not is_service_name(service):
            raise _wrong("service", "a service name", service)
        if not isinstance(version, str):
            raise _wrong(f"version of {service}", "a text", version)
        accepts = data.get("accepts", {})
        if not isinstance(accepts, Mapping) or not all(map(is_pattern, accepts)):
            raise _wrong(f"accepts of {service}", "an object by message types", accepts)
        return cls(
            service=str(service),
            version=version,
            accepts={pattern: _accepted(each, pattern) for pattern, each in accepts.items()},
            sends=sent_messages(data.get("sends", [])),
            routed=frozenset(map(str, data.get("routed", ()))),
            instances=instances if isinstance(instances, int) else 0,
        )


def sent_messages(data: Any) -> tuple[SentMessage, ...]:
    """Return the messages that the JSON of a registration or a contract says are sent.

    Raises:
        ValueError: it says nothing of the kind; the text says where.
    """
    if not isinstance(data, list):
        raise _wrong("sends", "a list", data)
    return tuple(_sent(each) for each in data)


def schemas_of(data: Any, where: str) -> dict[str, Mapping[str, Any]]:
    """Return JSON Schemas by pattern, as a registration has them.

    Raises:
        ValueError: it is something else; the text says where.
    """
    if not isinstance(data, Mapping) or not all(map(is_pattern, data)):
        raise _wrong(where, "an object by message types", data)
    found = {pattern: _schema(each, f"{where} of {pattern}") for pattern, each in data.items()}
    return {pattern: schema for pattern, schema in found.items() if schema is not None}


def _sent(data: Any) -> SentMessage:
    if not isinstance(data, Mapping) or not is_message_type(data.get("type")):
        raise _wrong("sends", "objects with a message type", data)
    message_type, to = data["type"], data.get("to")
    if to is not None and not is_service_name(to):
        raise _wrong(f"sends {message_type}", "a service name as to", to)
    return SentMessage(
        str(message_type),
        to,
        _schema(data.get("schema"), f"schema of {message_type}"),
        _schema(data.get("answer"), f"answer to {message_type}"),
    )


def _accepted(data: Any, pattern: str) -> Accepted:
    if not isinstance(data, Mapping):
        raise _wrong(f"accepts {pattern}", "an object", data)
    return Accepted(
        _schema(data.get("schema"), f"schema of {pattern}"),
        _schema(data.get("answers"), f"answers of {pattern}"),
    )


def _schema(data: Any, where: str) -> Mapping[str, Any] | None:
    if data is not None and not isinstance(data, Mapping):
        raise _wrong(where, "a JSON Schema object", data)
    return data


def _wrong(where: str, expected: str, got: object) -> ValueError:
    return ValueError(f"{where}: expected {expected}, got {got!r:.80}")
