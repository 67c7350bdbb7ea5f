"""How much of everything a run does."""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers of messages, sizes and seconds; what stands here is what figures are quoted for."""

    #: W1, W5 and EVENTS.
    messages: int = 5000
    #: W2, at 100 a second.
    paced: int = 500
    #: W3, by one caller and by eight.
    requests: int = 1000
    #: W4, in a burst.
    events: int = 500
    #: W4, at 50 a second.
    paced_events: int = 150
    #: W6: before the CPU of an idle worker is looked at, and for how long.
    settle_seconds: float = 1.0
    idle_seconds: float = 2.0
    #: W7 to W9: what is done beside a backlog, old rows, or many services.
    beside: int = 2000
    #: W7: messages that wait, on the embedded broker and on the others.
    backlogs: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    backlogs_elsewhere: tuple[int, ...] = (1_000, 100_000)
    #: W8: settled rows in the outbox, and as many in the inbox.
    old_rows: int = 1_000_000
    #: W9: registered services.
    services: tuple[int, ...] = (1, 100, 1000)
    #: W10, of each kind, by one client and by eight.
    http_requests: int = 1000
    #: W11: services that are asked, a tenth of them dead, and rounds that are timed.
    checked: tuple[int, ...] = (100, 1000)
    rounds: int = 3
    #: W13: instances whose heartbeats come; how many wait at first, and how often each comes then.
    instances: tuple[int, ...] = (100, 1_000, 10_000)
    heartbeats: int = 10_000
    heartbeat_turns: int = 4
    #: W12: services that the pages show, and those who look at them.
    seen_services: int = 200
    viewers: tuple[int, ...] = (0, 5)
    #: Whether slow extras are left out: Celery's SQLAlchemy transport, and c1 where there is c4.
    quick: bool = False

    @classmethod
    def to_try_it_out(cls) -> Self:
        """Return numbers too small for figures: they show that everything runs."""
        return cls(
            messages=200,
            paced=50,
            requests=50,
            events=50,
            paced_events=25,
            settle_seconds=0.3,
            idle_seconds=0.5,
            beside=200,
            backlogs=(1_000, 10_000),
            backlogs_elsewhere=(1_000, 5_000),
            old_rows=10_000,
            services=(1, 100),
            http_requests=50,
            checked=(20, 100),
            seen_services=10,
            instances=(20, 100),
            heartbeats=2000,
            heartbeat_turns=1,
            rounds=1,
            quick=True,
        )

    def with_messages(self, messages: int | None) -> Self:
        """Return these counts with another number for W1, W5 and EVENTS; None changes nothing."""
        return self if messages is None else replace(self, messages=messages)
