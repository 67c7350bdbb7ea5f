"""What is found when everything has come to rest: effects, ledger, dead letters, logs."""

import json
import re
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.soak.names import CLOCK_JUMPS, JUMP_SECONDS, SERVICES, effects_table
from tests.soak.records import Sending
from tests.soak.supervising import Ended
from tests.soak.turns import Span
from tests.soak.world import World

#: An exception's line: not indented, a dotted name, a colon.
_RAISED = re.compile(r"^([A-Za-z_][\w.]*): ?(.*)$")


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter."""

    message_id: str
    service: str
    type: str
    reason: str
    error: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything the verdict is made of."""

    broker: str
    sendings: list[Sending]
    #: By message and service, how many.
    effects: Counter[tuple[str, str]]
    #: The number of each message that has an effect.
    numbers: set[str]
    #: What ``bus_account --json`` says.
    account: dict[str, Any]
    letters: list[Letter]
    spans: list[Span]
    #: Processes that nobody had ended.
    ended: list[Ended] = field(default_factory=list)
    #: How the sender ended; 0: as it should.
    traffic_code: int = 0
    #: By log, exceptions and how often they are in it.
    tracebacks: dict[str, Counter[str]] = field(default_factory=dict)


def missing(
    sendings: list[Sending], effects: Counter[tuple[str, str]], letters: list[Letter]
) -> list[tuple[Sending, str]]:
    """Return what was accepted and has neither an effect nor a dead letter, by service."""
    ends = {(letter.message_id, letter.service) for letter in letters} | set(effects)
    return [
        (sending, service)
        for sending in sendings
        if sending.is_accepted
        for service in sending.receivers
        if (sending.message_id, service) not in ends
    ]


def effects_of(database: sqlite3.Connection) -> tuple[Counter[tuple[str, str]], set[str]]:
    """Return how many effects each message has at each service, and the numbers of all."""
    effects: Counter[tuple[str, str]] = Counter()
    numbers = set()
    for service in SERVICES:
        rows = database.execute(f"SELECT message_id, number FROM {effects_table(service)}")
        for message_id, number in rows:
            effects[message_id, service] += 1
            numbers.add(number)
    return effects, numbers


def letters_of(database: sqlite3.Connection) -> list[Letter]:
    rows = database.execute(
        "SELECT message_id, service, type, reason, error, parked_at FROM gateway_app_deadletter"
    )
    return [
        Letter(message_id, service, message_type, reason, error, _instant(at))
        for message_id, service, message_type, reason, error, at in rows
    ]


def instants(letter: Letter, spans: list[Span]) -> list[float]:
    """Return when it may have been written: by a clock that was right, or by one ahead."""
    ahead = letter.at - JUMP_SECONDS
    was_ahead = any(span.name in CLOCK_JUMPS and span.meets(ahead, ahead) for span in spans)
    return [letter.at, *([ahead] if was_ahead else [])]


def open_rows(database: sqlite3.Connection) -> int:
    """Return how many messages somebody still has to act for."""
    (outbox,) = database.execute(
        "SELECT count(*) FROM messaging_outboxmessage WHERE due_at IS NOT NULL"
    ).fetchone()
    (inbox,) = database.execute(
        "SELECT count(*) FROM messaging_inboxmessage WHERE due_at IS NOT NULL"
    ).fetchone()
    return int(outbox + inbox)


def rows_due_after(database: sqlite3.Connection, instant: float) -> int:
    """Return how many messages somebody has to act for only after an instant."""
    text = datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M:%S")
    (outbox,) = database.execute(
        "SELECT count(*) FROM messaging_outboxmessage WHERE due_at > ?", (text,)
    ).fetchone()
    (inbox,) = database.execute(
        "SELECT count(*) FROM messaging_inboxmessage WHERE due_at > ?", (text,)
    ).fetchone()
    return int(outbox + inbox)


def gather(world: World, spans: list[Span], traffic_code: int) -> Evidence:
    """Return everything, from a stack that still runs and has come to rest."""
    answer = world.installation.manage("bus_account", "--json")
    if not answer.stdout:
        raise RuntimeError(f"bus_account: {answer.stderr[-1000:]}")
    database = world.installation.database()
    try:
        effects, numbers = effects_of(database)
        letters = letters_of(database)
    finally:
        database.close()
    return Evidence(
        broker=world.broker,
        sendings=world.sendings(),
        effects=effects,
        numbers=numbers,
        account=json.loads(answer.stdout),
        letters=letters,
        spans=spans,
        ended=list(world.supervisor.ended),
        traffic_code=traffic_code,
        tracebacks=tracebacks(world.logs),
    )


def tracebacks(folder: Path) -> dict[str, Counter[str]]:
    """Return the exceptions that end a traceback, by log."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for log in sorted(folder.glob("*.log")):
        is_inside = False
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("Traceback (most recent call last)"):
                is_inside = True
            elif is_inside and line and not line[0].isspace():
                match = _RAISED.match(line)
                found[log.stem][f"{match[1]}: {match[2][:80]}" if match else line[:120]] += 1
                is_inside = False
    return dict(found)


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
