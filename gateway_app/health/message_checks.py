"""Health checks by message: many services, asked at the same time."""

import asyncio
import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from gateway_app.models import State
from messaging import (
    MessagingError,
    RemoteError,
    RequestTimeout,
    ServiceCommunicator,
    ServiceNotFound,
)
from messaging.async_loop import run_coroutine
from messaging.clock import SYSTEM_CLOCK
from messaging.registration import HEALTH_CHECK

#: The communicator of a service answers by itself, in milliseconds, unless all its threads are
#: busy for longer than this.
ANSWER_SECONDS: Final = 2.0
#: Requests under way at one time: so many dead services cost `ANSWER_SECONDS`, not more. Each
#: question waits for those before it to get out, while its time runs.
AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Result:
    """What a health check found out about a service."""

    state: State
    #: Text for people; the same for the same finding, so that a change of it means something.
    cause: str
    answer: Any = None
    #: Until the answer came; None: none did.
    seconds: float | None = None
    #: Whether the service was asked at all.
    is_check: bool = False


def ask_all(
    communicator: ServiceCommunicator, names: Collection[str], *, ends_at: float
) -> dict[str, Result]:
    """Ask every service for its health and return what came of it, by name. Safe to repeat.

    One that answers is UP, one that does not is SUSPECT: what several failures mean is not decided
    here. Blocks until the last one has answered or taken too long.

    Args:
        communicator: of the gateway.
        names: of services that run: for others the question would wait, for nobody.
        ends_at: by `SYSTEM_CLOCK.monotonic`; whose turn has not come by then is not asked.
    """
    results: dict[str, Result] = run_coroutine(_ask_all(communicator, names, ends_at))
    return results


async def _ask_all(
    communicator: ServiceCommunicator, names: Collection[str], ends_at: float
) -> dict[str, Result]:
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(name: str) -> tuple[str, Result]:
        async with places:
            if SYSTEM_CLOCK.monotonic() >= ends_at:
                return name, Result(State.UNKNOWN, "could not be asked: no time left")
            return name, await _ask(communicator, name)

    # Shuffled: where not all have their turn, it is not always the same ones.
    shuffled = random.sample(list(names), len(names))
    return dict(await asyncio.gather(*(ask(name) for name in shuffled)))


async def _ask(communicator: ServiceCommunicator, name: str) -> Result:
    began = SYSTEM_CLOCK.monotonic()
    try:
        answer = await communicator.request_async(name, HEALTH_CHECK, {}, timeout=ANSWER_SECONDS)
    except RequestTimeout:
        return Result(State.SUSPECT, f"no answer within {ANSWER_SECONDS:g} s", is_check=True)
    except ServiceNotFound as exc:
        return Result(State.DOWN, str(exc), is_check=True)
    except RemoteError as exc:
        seconds = SYSTEM_CLOCK.monotonic() - began
        cause = f"answered with an error: {exc}"
        return Result(State.SUSPECT, cause, seconds=seconds, is_check=True)
    except MessagingError as exc:
        # Not the service's fault: the question did not go out.
        return Result(State.UNKNOWN, f"could not be asked: {type(exc).__name__}")
    seconds = SYSTEM_CLOCK.monotonic() - began
    return Result(State.UP, "answered", answer, seconds=seconds, is_check=True)
