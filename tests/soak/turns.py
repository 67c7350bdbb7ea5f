"""Faults in turn, each on record with its beginning and its end."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from messaging.clock import SYSTEM_CLOCK
from tests.soak.faults import Fault
from tests.soak.world import World

#: The same order of the same faults in every run.
_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Span:
    """A fault that has happened."""

    name: str
    begun_at: float
    ended_at: float
    #: Whom it hit, for people.
    text: str = ""

    def meets(self, begun_at: float, ended_at: float, *, after_seconds: float = 0.0) -> bool:
        """Return whether it lasted, or had just ended, at any time between two instants."""
        return self.begun_at <= ended_at and begun_at <= self.ended_at + after_seconds


class Turns:
    """All faults one after the other, in an order that differs from round to round.

    After the first third the elders are spared (`World.spares_elders`): in the second half, over
    which growth is judged, they are no longer filling up.

    Args:
        world: what they happen to.
        faults: which.
        calm_seconds: between the end of one and the beginning of the next.
    """

    def __init__(self, world: World, faults: Sequence[Fault], calm_seconds: float) -> None:
        self.spans: list[Span] = []
        self._world, self._faults, self._calm_seconds = world, faults, calm_seconds
        self._record = world.report / "faults.jsonl"
        self._chance = random.Random(_SEED)

    def play(self, seconds: float) -> None:
        """Let them happen for so long; one that has begun is ended, whatever happens."""
        ends_at = SYSTEM_CLOCK.monotonic() + seconds
        spared_at = ends_at - seconds * 2 / 3
        for fault in self._endless():
            # What would reach over that instant comes after it.
            ends = SYSTEM_CLOCK.monotonic() + self._calm_seconds + fault.seconds
            self._world.spares_elders = ends >= spared_at
            if self._world.spares_elders:
                self._faults = [each for each in self._faults if not each.ends]
                if fault.ends:
                    continue
            _wait(min(self._calm_seconds, ends_at - SYSTEM_CLOCK.monotonic()))
            if SYSTEM_CLOCK.monotonic() + fault.seconds > ends_at:
                break
            self._happen(fault)
        _wait(ends_at - SYSTEM_CLOCK.monotonic())

    def _endless(self) -> Iterator[Fault]:
        while self._faults:
            yield from self._faults
            self._faults = self._chance.sample(self._faults, len(self._faults))

    def _happen(self, fault: Fault) -> None:
        begun_at, text = SYSTEM_CLOCK.now(), ""
        try:
            with fault.happen(self._world, self._chance) as text:
                _write(self._record, fault=fault.name, phase="begin", at=begun_at, text=text)
                print(f"{fault.name}: {text}", flush=True)
                _wait(fault.seconds)
        finally:
            span = Span(fault.name, begun_at, SYSTEM_CLOCK.now(), text)
            self.spans.append(span)
            _write(self._record, fault=fault.name, phase="end", at=span.ended_at)


def as_json(spans: Sequence[Span]) -> list[dict[str, object]]:
    """Return what the report has of them."""
    return [asdict(span) for span in spans]


def _write(path: Path, **fields: object) -> None:
    with path.open("a") as file:
        file.write(json.dumps(fields) + "\n")


def _wait(seconds: float) -> None:
    SYSTEM_CLOCK.sleep(max(0.0, seconds))
