"""What a service declares that it sends: types, targets, models of the data, what recurs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from messaging.config import MessagingConfig
from messaging.envelope import (
    MessageKind,
    MessagePriority,
    is_message_type,
    is_service_name,
)
from messaging.errors import ConfigurationError
from messaging.recurrence import MOST_OF_ONE_SERVICE, Recurrence
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
        self._recurring: dict[str, Recurrence] = {}

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

    def recurring(
        self,
        name: str,
        message_type: str,
        data: Any = None,
        *,
        to: str | None = None,
        every: float | None = None,
        cron: str = "",
        timezone: str = "UTC",
        priority: MessagePriority | str = MessagePriority.NORMAL,
        expires_in: float | None = None,
        overlaps: bool = True,
    ) -> None:
        """Declare a message that the gateway sends again and again, once each time.

        In this service's name, whatever runs of it then, and kept until its outcome is known. It
        recurs once an instance has registered. What the newest running
        instance declares holds: a version that does not declare it any more ends it. What fell due
        while no worker of the gateway ran is sent once, when one does.

        Args:
            name: what it is called, unique to this service; up to 100 characters.
            message_type: words joined by dots.
            data: any JSON value, the same each time.
            to: the service that it is sent to; None: it is broadcast.
            every: seconds between two, 1 at least, counted from 1970 in UTC: 3600 is at each full
                hour.
            cron: minute, hour, day of the month, month, day of the week, instead of ``every``.
            timezone: whose clock ``cron`` means, such as ``Europe/Berlin``.
            priority: a `MessagePriority` or its name.
            expires_in: seconds after which nobody may handle one any more.
            overlaps: False: one is left out while the one before it is not at its end.

        Raises:
            ConfigurationError: an argument is wrong, or the name has been declared before.
        """
        try:
            recurrence = Recurrence(
                name=name,
                type=message_type,
                to=to or "",
                data={} if data is None else data,
                priority=MessagePriority(priority),
                every=every,
                cron=cron,
                timezone=timezone,
                expires_in=expires_in,
                overlaps=overlaps,
            )
        except ValueError as exc:
            raise ConfigurationError(f"recurring {name!r:.100}: {exc}") from exc
        if len(self._recurring) >= MOST_OF_ONE_SERVICE:
            raise ConfigurationError(f"recurring {name!r:.100}: one beyond {MOST_OF_ONE_SERVICE}")
        if name in self._recurring:
            raise ConfigurationError(f"recurring {name!r:.100}: declared a second time")
        self._recurring[name] = recurrence

    def recurrences(self) -> Sequence[Recurrence]:
        """Return the messages that recur, by name."""
        return [self._recurring[name] for name in sorted(self._recurring)]

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
