"""The live system as an AsyncAPI 3.0 document.

A service is a channel, the queue of its commands and requests; a type that somebody broadcasts is
one too. An operation is one version of a service that receives from a channel, or sends to it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from messaging.contracts.contract import Contract, SentMessage
from messaging.contracts.schema_words import same
from messaging.patterns import is_literal, matches
from messaging.topology import Topology

#: Pydantic's dialect; AsyncAPI's own is a draft that lacks some of its words.
SCHEMA_FORMAT: Final = "application/schema+json;version=draft-2020-12"
_NO_KEY: Final = re.compile(r"[^A-Za-z0-9._-]")


def document(contracts: Iterable[Contract], topology: Topology, version: str) -> dict[str, Any]:
    """Return the document of what runs.

    Args:
        contracts: of all versions.
        topology: has the names of queues and exchanges.
        version: of the document: another one for other contracts.
    """
    return _Writer(list(contracts), topology).write(version)


class _Writer:
    def __init__(self, contracts: list[Contract], topology: Topology) -> None:
        self._contracts = contracts
        self._topology = topology
        self._channels: dict[str, dict[str, Any]] = {}
        self._operations: dict[str, dict[str, Any]] = {}
        self._messages: dict[str, dict[str, Any]] = {}

    def write(self, version: str) -> dict[str, Any]:
        events = sorted(
            {sent.type for each in self._contracts for sent in each.sends if sent.to is None}
        )
        for event in events:
            self._event_channel(event)
        for contract in self._contracts:
            self._service_channel(contract.service)
            for pattern in contract.accepts:
                self._received(contract, pattern, events)
            for sent in contract.sends:
                self._sent(contract, sent)
        return {
            "asyncapi": "3.0.0",
            "info": {
                "title": "Services on the bus",
                "version": version,
                "description": "What every version that runs accepts and sends, as of now.",
            },
            "defaultContentType": "application/json",
            "channels": dict(sorted(self._channels.items())),
            "operations": dict(sorted(self._operations.items())),
            "components": {"messages": dict(sorted(self._messages.items()))},
        }

    def _event_channel(self, event: str) -> str:
        exchange = self._topology.events_exchange
        name = f"event.{event}"
        self._channels.setdefault(
            name,
            {
                "address": event,
                "title": event,
                "description": f"Broadcasts, by the exchange {exchange.name}.",
                "messages": {},
            },
        )
        return name

    def _service_channel(self, service: str) -> str:
        name = f"service.{service}"
        self._channels.setdefault(
            name,
            {
                "address": self._topology.queue_name(service),
                "title": service,
                "description": f"Commands and requests to {service}: its work queue.",
                "messages": {},
            },
        )
        return name

    def _received(self, contract: Contract, pattern: str, events: list[str]) -> None:
        accepted = contract.accepts[pattern]
        channels = [self._event_channel(each) for each in events if matches(pattern, each)]
        # The events of a pattern are what it is for; what is sent to it as a command, too, no
        # message type tells.
        if is_literal(pattern):
            channels.append(self._service_channel(contract.service))
        for channel in channels:
            message = self._message(channel, contract, "accepts", pattern, accepted.schema)
            operation = self._operation("receive", channel, contract, pattern, message)
            if accepted.answers is not None and channel.startswith("service."):
                reply = self._message(channel, contract, "answers", pattern, accepted.answers)
                operation["reply"] = {
                    "channel": {"$ref": f"#/channels/{channel}"},
                    "messages": [reply],
                }

    def _sent(self, contract: Contract, sent: SentMessage) -> None:
        channel = (
            self._event_channel(sent.type) if sent.to is None else self._service_channel(sent.to)
        )
        message = self._message(channel, contract, "sends", sent.type, sent.schema)
        self._operation("send", channel, contract, sent.type, message)

    def _message(
        self,
        channel: str,
        contract: Contract,
        role: str,
        message_type: str,
        schema: Mapping[str, Any] | None,
    ) -> dict[str, str]:
        """Put a message into a channel, and return where it stands there."""
        message: dict[str, Any] = {
            "name": message_type,
            "title": f"{message_type}, as {contract} {role} it",
            "contentType": "application/json",
        }
        key = _key(contract.service, contract.version, role, message_type)
        if schema is not None:
            # Its references point into itself: it is a document of its own, with an id.
            own = {**schema, "$id": f"urn:message:{key}"}
            message["payload"] = {"schemaFormat": SCHEMA_FORMAT, "schema": own}
        while key in self._messages and not same(self._messages[key], message):
            key += "-other"  # instances of one version that say different things
        self._messages[key] = message
        self._channels[channel]["messages"][key] = {"$ref": f"#/components/messages/{key}"}
        return {"$ref": f"#/channels/{channel}/messages/{key}"}

    def _operation(
        self,
        action: str,
        channel: str,
        contract: Contract,
        message_type: str,
        message: dict[str, str],
    ) -> dict[str, Any]:
        operation = {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": f"{contract} {action}s {message_type}",
            "tags": [{"name": contract.service}],
            "messages": [message],
            "x-service": contract.service,
            "x-version": contract.version,
            "x-instances": contract.instances,
        }
        key = _key(contract.service, contract.version, action, message_type, channel)
        while key in self._operations:
            key += "-other"
        self._operations[key] = operation
        return operation


def _key(*words: str) -> str:
    """Return a key of the document: patterns and versions have signs that none may have."""
    named = [word.replace("*", "any").replace("#", "all") for word in words]
    return ".".join(_NO_KEY.sub("_", word) for word in named if word)
