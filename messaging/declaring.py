"""What a service declares that it sends: types, targets, and the models of their data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from messaging.config import MessagingConfig
from messaging.envelope import MessageKind, is_message_type, is_service_name
from messaging.errors import ConfigurationError
from messaging.schemas import DeclaredType
from messaging.subscriber import Subscriber


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One message that a service sends."""

    type: str
    #: The service that it is for; None: it is broadcast.
    to: str | None
    data: DeclaredType
    #: What the sender needs of the answer; None: it does not say, or wants none.
    answer: DeclaredType | None

    def to_json(self) -> dict[str, Any]:
        """Return it as ``service.register`` and contracts have it."""
        answer = {} if self.answer is None else {"answer": self.answer.schema}
        return {"type": self.type, "to": self.to, "schema": self.data.schema, **answer}


class Declaring(Subscriber):
    """Keeps what a service declares that it sends, and holds what is sent against it.

    Args:
        config: the settings; None: ``settings.MESSAGING``, read when first needed.
    """

    def __init__(self, config: MessagingConfig | None) -> None:
        super().__init__(config)
        self._sent: dict[tuple[str, str | None], Sent] = {}

    def sends(
        self, message_type: str, data: Any, *, to: str | None = None, answer: Any = None
    ) -> None:
        """Declare a message that this service sends; the registry publishes its JSON Schema.

        Declare it beside the handlers, where it is run before the service registers. A message is
        still sent by `send_to_service`, `broadcast` or `request`, declared or not; where the
        setting ``check_sends`` is ``raise``, data that is not what was declared is refused then.
        A field that the type does not name is not sent, unless its model allows others.

        Args:
            message_type: words joined by dots.
            data: what its data is: a pydantic model, or another type that pydantic knows.
            to: the service it is sent to, as a command or a request; None: it is broadcast.
            answer: what this service needs of the answer to a request, a type likewise.

        Raises:
            ConfigurationError: no message type, no service name, no type that pydantic knows, an
                answer to a broadcast, or it has been declared before.
        """
        if not is_message_type(message_type):
            raise _wrong("a message type, words joined by dots", message_type)
        if to is not None and not is_service_name(to):
            raise _wrong(f"the name of a service as to= of {message_type!r}", to)
        if answer is not None and to is None:
            raise _wrong("no answer= without to=: nobody answers a broadcast", message_type)
        if (message_type, to) in self._sent:
            where = "as a broadcast" if to is None else f"to {to}"
            raise _wrong("each message once", f"{message_type!r} {where} a second time")
        self._sent[message_type, to] = Sent(
            type=message_type,
            to=to,
            data=DeclaredType(data, f"sends: {message_type!r}"),
            answer=None if answer is None else DeclaredType(answer, f"sends: {message_type!r}"),
        )

    def sent(self) -> Sequence[Sent]:
        """Return everything that was declared, by type and target."""
        return [
            self._sent[key] for key in sorted(self._sent, key=lambda key: (key[0], key[1] or ""))
        ]

    def check_sent(self, kind: MessageKind, message_type: str, target: str, data: Any) -> None:
        """Hold what is about to be sent against what was declared, if the settings say so.

        Raises:
            EncodeError: it is something else; NOT sent.
        """
        to = None if kind is MessageKind.EVENT else target
        declared = self._sent.get((message_type, to))
        if declared is not None and self.bus.config.check_sends == "raise":
            declared.data.check({} if data is None else data, f"the data of {message_type}")


def _wrong(expected: str, got: object) -> ConfigurationError:
    return ConfigurationError(f"sends: expected {expected}, got {got!r:.150}")
