"""Health checks over HTTP: the endpoints of many instances, asked at the same time."""

import asyncio
import random
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from gateway_app.health.host_names import NamesLoop, NoTurn
from gateway_app.health.http_probe import Endpoint, Probe, probe
from gateway_app.networks import Networks
from gateway_app.registry import own_fault
from messaging.clock import SYSTEM_CLOCK

#: Probes under way at one time. What each of them costs in CPU, all others wait for; with so many
#: that is a small part of the time they may take.
AT_ONCE: Final = 64


def probe_all(
    endpoints: Collection[Endpoint],
    *,
    timeout_seconds: float,
    ends_at: float,
    networks: Networks,
) -> dict[str, Probe]:
    """Ask every endpoint and return what became of it, by instance id. Safe to repeat.

    One that takes too long is asked once more when all others are done: the gateway may have been
    too busy itself to hear it. Blocks until the last one has answered or taken too long.

    Args:
        endpoints: in any order.
        timeout_seconds: how long one may take; see `http_probe.probe`.
        ends_at: by `SYSTEM_CLOCK.monotonic`; whose turn has not come by then is left out of the
            result, also for a name that could not be looked up by then.
        networks: where the gateway may connect to.
    """
    if not endpoints:
        return {}
    # A loop of its own: names that nobody resolves must hold up no handler.
    with NamesLoop() as loop:
        return loop.run_until_complete(
            _probe_all(loop, endpoints, timeout_seconds, ends_at, networks)
        )


def is_own_fault(probes: Mapping[str, Probe], alive: Collection[str]) -> bool:
    """Return whether so many living instances gave no answer that the gateway must be cut off.

    Args:
        probes: by instance id.
        alive: ids of the instances whose heartbeats arrive.
    """
    # A bad answer is one: it shows that the way there and back is open.
    answered = [probe.is_answered for key, probe in probes.items() if key in alive]
    return own_fault.is_own_fault(answered.count(False), len(answered))


async def _probe_all(
    loop: NamesLoop,
    endpoints: Collection[Endpoint],
    timeout_seconds: float,
    ends_at: float,
    networks: Networks,
) -> dict[str, Probe]:
    places = asyncio.Semaphore(AT_ONCE)
    probes: dict[str, Probe] = {}

    async def ask(endpoint: Endpoint) -> None:
        try:
            await loop.look_up(endpoint.host, ends_at)
        except NoTurn:
            return
        async with places:
            if SYSTEM_CLOCK.monotonic() < ends_at:
                probes[endpoint.instance_id] = await probe(endpoint, timeout_seconds, networks)

    async def ask_each(wanted: Iterable[Endpoint]) -> None:
        await asyncio.gather(*(ask(endpoint) for endpoint in wanted))

    # Shuffled: where not all have their turn, it is not always the same ones.
    shuffled = random.sample(list(endpoints), len(endpoints))
    await ask_each(shuffled)
    late = {key for key, probe in probes.items() if probe.is_late}
    await ask_each(endpoint for endpoint in shuffled if endpoint.instance_id in late)
    await asyncio.sleep(0)  # the last connections are closed on the loop's next turn
    return probes
