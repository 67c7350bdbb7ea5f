"""Which services are known to serve nobody just now, asked of whoever keeps the registry."""

from typing import TYPE_CHECKING, Final

from messaging.database_threads import off_the_event_loop

if TYPE_CHECKING:
    from messaging.bus import MessageBus

#: An answer is used again for so long: it is a query, and who sends thousands must not pay for it
#: each time. Whatever is sent on an old one is let out, or waits on the broker.
REMEMBERED_SECONDS: Final = 1.0


class DownTargets:
    """Answers of `MessageBus.is_down`, each remembered for a moment. Thread-safe.

    Args:
        bus: whose clock and registry; where nobody set `MessageBus.is_down`, none is down.
    """

    def __init__(self, bus: "MessageBus") -> None:
        self._bus = bus
        self._known: dict[str, tuple[float, bool]] = {}

    def includes(self, service: str, *, now_known: bool = False) -> bool:
        """Return whether a service is known to serve nobody. May be called on an event loop.

        Never of the gateway: nothing could be let out when it returns.

        Args:
            service: its name.
            now_known: ask, whatever is remembered.

        Raises:
            DatabaseError: the registry's database did not answer.
        """
        ask = self._bus.is_down
        if ask is None or service == self._bus.config.gateway_name:
            return False
        now = self._bus.clock.monotonic()
        known = self._known.get(service)
        if now_known or known is None or now - known[0] > REMEMBERED_SECONDS:
            answers: list[bool] = []
            off_the_event_loop(lambda: answers.append(ask(service)))
            known = self._known[service] = now, answers[0]
        return known[1]
