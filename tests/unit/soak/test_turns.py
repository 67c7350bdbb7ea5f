"""Which faults happen when."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from messaging.clock import SYSTEM_CLOCK
from tests.soak.faults import Fault
from tests.soak.turns import Turns


def test_after_a_third_no_fault_ends_what_must_live_on(tmp_path: Path) -> None:
    seen: list[tuple[float, str, bool]] = []

    def fault(name: str, ends: str) -> Fault:
        @contextmanager
        def happen(world: Any, _chance: random.Random) -> Iterator[str]:
            seen.append((SYSTEM_CLOCK.monotonic(), name, world.spares_elders))
            yield name

        return Fault(name=name, happen=happen, seconds=0.001, ends=ends)

    world: Any = SimpleNamespace(report=tmp_path, spares_elders=False)
    spared_at = SYSTEM_CLOCK.monotonic() + 0.2
    Turns(world, [fault("web killed", "web"), fault("flood", "")], 0.005).play(0.6)
    assert {name for _, name, _ in seen} == {"web killed", "flood"}
    assert {name for at, name, _ in seen if at >= spared_at} == {"flood"}
    assert {is_spared for at, _, is_spared in seen if at >= spared_at} == {True}


def test_where_every_fault_ends_an_elder_the_rest_is_calm(tmp_path: Path) -> None:
    @contextmanager
    def happen(_world: Any, _chance: random.Random) -> Iterator[str]:
        yield ""

    world: Any = SimpleNamespace(report=tmp_path, spares_elders=False)
    turns = Turns(world, [Fault(name="only", happen=happen, seconds=0.001, ends="web")], 0.005)
    began_at, spared_at = SYSTEM_CLOCK.monotonic(), SYSTEM_CLOCK.now() + 0.15
    turns.play(0.3)
    assert SYSTEM_CLOCK.monotonic() - began_at >= 0.3
    assert turns.spans
    assert all(span.ended_at < spared_at for span in turns.spans)
