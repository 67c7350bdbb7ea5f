"""What goes wrong in a soak. Each fault begins with a `with` block, and ends with it."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

from messaging.clock import SYSTEM_CLOCK
from tests.soak.names import CLOCK_JUMP, CLOCK_JUMP_OF_ALL, JUMP_SECONDS
from tests.soak.world import BEAT, GATEWAY_WORKER, WEB, World
from tests.support.outage import wipe
from tests.support.processes import ROOT
from tests.support.waiting import eventually

#: A started process is at work within it.
_BACK_SECONDS: Final = 30.0
FLOOD: Final = 5000
#: A broker may take as long for it as it does for a few thousand of anything.
_FLOOD_SECONDS: Final = 300.0
#: Longer than any lease: a run's is 30, `world.SETTINGS` has the brokers'.
_FROZEN_SECONDS: Final = 35.0
_SLOW_SECONDS: Final = 0.05
_MB: Final = 2**20
_PAGE: Final = 4096

#: Yields what is to be known of it, for people.
Happening = Callable[[World, random.Random], AbstractContextManager[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    name: str
    happen: Happening
    #: How long it lasts.
    seconds: float
    #: The one process that it ends; empty: none, or one of several.
    ends: str = ""
    #: Says why it cannot happen there; empty: it can.
    obstacle: Callable[[World], str] = lambda _world: ""


@contextmanager
def _killed(world: World, name: str) -> Iterator[str]:
    pid = world.supervisor.kill(name)
    yield f"{name}, process {pid}"
    eventually(lambda: name in world.supervisor.pids(), _BACK_SECONDS, f"{name} again")


def _kill_worker(world: World, chance: random.Random) -> AbstractContextManager[str]:
    return _killed(world, chance.choice(world.workers()))


@contextmanager
def _frozen_worker(world: World, chance: random.Random) -> Iterator[str]:
    name = chance.choice(world.workers())
    pid = world.supervisor.signal(name, signal.SIGSTOP)
    try:
        yield f"{name}, process {pid}"
    finally:
        world.supervisor.signal(name, signal.SIGCONT)


@contextmanager
def _broker_restarted(world: World, _chance: random.Random) -> Iterator[str]:
    assert world.server is not None
    world.server.stop()
    try:
        yield "stopped, and started again with what it had"
    finally:
        world.server.start()


@contextmanager
def _broker_killed(world: World, _chance: random.Random) -> Iterator[str]:
    assert world.server is not None
    world.server.kill()
    try:
        yield "kill -9, and started again with what it had"
    finally:
        world.server.start()


@contextmanager
def _broker_wiped(world: World, _chance: random.Random) -> Iterator[str]:
    if world.server is None:
        wipe(world.installation)
    else:
        world.server.wipe()
    yield "everything it held is gone"


@contextmanager
def _database_locked(world: World, _chance: random.Random) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.soak.hold_lock", str(world.database)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    ) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            yield "another process is in the middle of a transaction"
        finally:
            holder.kill()


@contextmanager
def _disk_full(world: World, _chance: random.Random) -> Iterator[str]:
    filler = world.var_dir / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        taken = _fill(descriptor)
        yield f"the last {taken / _MB:.0f} MB of VAR_DIR are taken"
    finally:
        os.close(descriptor)
        filler.unlink()


def _fill(descriptor: int) -> int:
    """Take all of the disk that there is, while others take some as well; return how much."""
    taken, step = 0, _MB
    while step >= _PAGE:
        try:
            os.posix_fallocate(descriptor, taken, step)
        except OSError:
            step //= 2
        else:
            taken += step
    return taken


@contextmanager
def _network_slow(world: World, _chance: random.Random) -> Iterator[str]:
    assert world.proxy is not None
    world.proxy.delay_seconds = _SLOW_SECONDS
    try:
        yield f"{_SLOW_SECONDS * 1000:g} ms each way"
    finally:
        world.proxy.delay_seconds = 0.0


@contextmanager
def _network_cut(world: World, _chance: random.Random) -> Iterator[str]:
    assert world.proxy is not None
    world.proxy.cut()
    try:
        yield "every connection is broken and none can be made"
    finally:
        world.proxy.mend()


@contextmanager
def _clock_jump(world: World, chance: random.Random) -> Iterator[str]:
    name = chance.choice(world.workers())
    world.clocks.set(name, JUMP_SECONDS)
    try:
        yield f"{name} is {JUMP_SECONDS} s ahead, and goes back"
    finally:
        world.clocks.set(name, 0)


@contextmanager
def _clock_jump_of_all(world: World, _chance: random.Random) -> Iterator[str]:
    world.put_clocks_ahead()
    try:
        yield f"all but the sender are {JUMP_SECONDS} s ahead, and go back"
    finally:
        world.put_clocks_ahead(0)


def _flood(count: int) -> Happening:
    @contextmanager
    def flood(world: World, _chance: random.Random) -> Iterator[str]:
        name = f"flood-{SYSTEM_CLOCK.now():.0f}"
        process = world.start_traffic(name, SOAK_FLOOD=str(count))
        try:
            yield f"{count} LOW messages, as fast as they are taken"
            process.wait(_FLOOD_SECONDS)
        finally:
            process.stop()

    return flood


def _needs_server(world: World) -> str:
    return "" if world.server else "the embedded broker is a file: it has no server"


def _needs_network(world: World) -> str:
    return "" if world.proxy else "the embedded broker is a file: there is no network"


def _needs_disk(world: World) -> str:
    return "" if world.has_own_disk else "this user may not mount a disk of limited size"


def _needs_clocks(world: World) -> str:
    return world.clocks.obstacle


def catalogue(flood: int = FLOOD) -> tuple[Fault, ...]:
    """Return every fault there is."""

    def killed(name: str, process: str) -> Fault:
        def happen(world: World, _chance: random.Random) -> AbstractContextManager[str]:
            return _killed(world, process)

        return Fault(name=name, happen=happen, seconds=4, ends=process)

    server, network, clocks = _needs_server, _needs_network, _needs_clocks
    return (
        Fault(name="worker killed", happen=_kill_worker, seconds=4),
        killed("gateway worker killed", GATEWAY_WORKER),
        killed("web killed", WEB),
        killed("beat killed", BEAT),
        Fault(name="worker frozen", happen=_frozen_worker, seconds=_FROZEN_SECONDS),
        Fault(name="broker restarted", happen=_broker_restarted, seconds=5, obstacle=server),
        Fault(name="broker killed", happen=_broker_killed, seconds=5, obstacle=server),
        Fault(name="broker wiped", happen=_broker_wiped, seconds=4),
        Fault(name="database locked", happen=_database_locked, seconds=10),
        Fault(name="disk full", happen=_disk_full, seconds=10, obstacle=_needs_disk),
        Fault(name="network slow", happen=_network_slow, seconds=10, obstacle=network),
        Fault(name="network cut", happen=_network_cut, seconds=8, obstacle=network),
        Fault(name=CLOCK_JUMP, happen=_clock_jump, seconds=10, obstacle=clocks),
        Fault(name=CLOCK_JUMP_OF_ALL, happen=_clock_jump_of_all, seconds=10, obstacle=clocks),
        Fault(name="flood", happen=_flood(flood), seconds=1),
    )
