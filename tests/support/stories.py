"""What is said to services, what they do, and what becomes of it: once for harness and brokers.

Each scenario is one conversation, and bears its name as correlation id.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.db import connection
from pydantic import BaseModel

from messaging import (
    Envelope,
    Reject,
    RemoteError,
    Retry,
    RetryPolicy,
    ServiceCommunicator,
)

EFFECTS: Final = "CREATE TABLE effect (message_id TEXT, service TEXT)"
COUNT_EFFECTS: Final = (
    "SELECT message_id, service, count(*) FROM effect GROUP BY message_id, service"
)
#: Three attempts in a moment.
QUICK: Final = RetryPolicy(
    immediate=1, delayed=2, base_seconds=0.02, cap_seconds=0.02, floor_seconds=0.01
)


class Order(BaseModel):
    count: int


def service(name: str, die_once: Callable[[], None]) -> ServiceCommunicator:
    """Return one of the services; all of them have all handlers.

    Args:
        name: of the service.
        die_once: ends the process, the first time; may do nothing.
    """
    communicator = ServiceCommunicator(name, version="1")

    def do(message: Envelope) -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO effect VALUES (%s, %s)", [message.id, name])

    @communicator.on_message("work")
    @communicator.on_message("work.kept", atomic=True)
    def work(_data: Any, message: Envelope) -> None:
        do(message)

    @communicator.on_message("work.thrice", retry=RetryPolicy(immediate=3, delayed=0))
    def fail_twice(_data: Any, message: Envelope) -> None:
        if message.attempt < 3:
            raise ValueError("not yet")
        do(message)

    @communicator.on_message("work.later", retry=QUICK)
    def fail_once(_data: Any, message: Envelope) -> None:
        if message.attempt < 2:
            raise ValueError("not yet")
        do(message)

    @communicator.on_message("work.never", retry=QUICK)
    def fail(_data: Any) -> None:
        raise ValueError("never")

    @communicator.on_message("work.refused")
    def refuse(_data: Any) -> None:
        raise Reject("this will never do")

    @communicator.on_message("work.postponed")
    def postpone(_data: Any, message: Envelope) -> None:
        if message.attempt < 2:
            raise Retry(0.05)
        do(message)

    @communicator.on_message("work.valid", schema=Order)
    def take(_order: Order, message: Envelope) -> None:
        do(message)

    @communicator.on_message("work.fatal", atomic=True)
    def die(_data: Any, message: Envelope) -> None:
        do(message)
        die_once()

    @communicator.on_message("ask.twice")
    async def double(data: Any) -> int:
        return 2 * int(data["number"])

    @communicator.on_message("ask.missing")
    def miss(_data: Any) -> None:
        raise Reject("there is none", code="not_found")

    @communicator.on_message("ask.other")
    def ask_other(data: Any) -> Any:
        return communicator.request("mirror", "ask.twice", data)

    @communicator.on_message("chain.begun")
    def begin(_data: Any, message: Envelope) -> None:
        communicator.send_to_service("mirror", "chain.continued")

    @communicator.on_message("chain.continued")
    def go_on(_data: Any, message: Envelope) -> None:
        communicator.broadcast("news.chain")

    if name != "brittle":
        communicator.on_message("news.#")(work)
    return communicator


Say = Callable[[ServiceCommunicator, str], str]


def _tell(message_type: str, data: Any = None, *, to: str = "counter", **options: Any) -> Say:
    def say(tester: ServiceCommunicator, name: str) -> str:
        tester.send_to_service(to, message_type, data, correlation_id=name, **options)
        return ""

    return say


def _announce(message_type: str) -> Say:
    def say(tester: ServiceCommunicator, name: str) -> str:
        tester.broadcast(message_type, correlation_id=name)
        return ""

    return say


def _ask(message_type: str, data: Any = None) -> Say:
    def say(tester: ServiceCommunicator, name: str) -> str:
        try:
            answer = tester.request("counter", message_type, data, correlation_id=name)
        except RemoteError as exc:
            return f"{exc.type}, {exc.code}: {exc.message}"
        return repr(answer)

    return say


SCENARIOS: Final[dict[str, Say]] = {
    "handled": _tell("work"),
    "at the third attempt": _tell("work.thrice"),
    "retried, then handled": _tell("work.later"),
    "exhausted": _tell("work.never"),
    "refused": _tell("work.refused"),
    "postponed by its handler": _tell("work.postponed"),
    "expired": _tell("work", expires_in=0.01),
    "invalid": _tell("work.valid", {"count": "many"}),
    "nobody's": _tell("work.unheard.of"),
    "to all": _announce("news.plain"),
    "asked": _ask("ask.twice", {"number": 4}),
    "asked in vain": _ask("ask.missing"),
    "asked, who asks": _ask("ask.other", {"number": 4}),
    "delayed": _tell("work", delay=0.2),
    "a chain": _tell("chain.begun"),
    "delivered twice": _tell("work.kept", {"twice": True}, priority="CRITICAL"),
    "killed in the handler": _tell("work.fatal", to="brittle", priority="CRITICAL"),
    "critical": _tell("work.kept", priority="CRITICAL"),
}
#: Said while nobody runs who could handle it in time.
EARLY: Final = ("expired",)
SERVICES: Final = ("counter", "mirror", "brittle")


def effects(rows: Sequence[tuple[str, str, int]]) -> dict[tuple[str, str], int]:
    return {(message_id, name): count for message_id, name, count in rows}
