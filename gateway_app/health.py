"""The health round: every service is asked how it is, all at once."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from gateway_app.models import SERVING, HealthRecord, Service, ServiceInstance, State
from messaging import (
    MessagingError,
    RemoteError,
    RequestTimeout,
    ServiceCommunicator,
    ServiceNotFound,
)
from messaging.async_loop import run_coroutine
from messaging.envelope import utc_now
from messaging.registration import HEALTH_CHECK
from messaging.text import storable

#: The communicator of a service answers by itself, in milliseconds, unless all its threads are
#: busy for longer than this.
ANSWER_SECONDS: Final = 2.0
#: Requests under way at one time.
AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class Result:
    """What a health check found out about a service."""

    state: State
    #: Text for people; the same for the same finding, so that a change of it means something.
    cause: str
    answer: Any = None


def run_round(communicator: ServiceCommunicator) -> None:
    """Ask every registered service for its health and put the results on record.

    Blocks for a few `ANSWER_SECONDS`. Two rounds at once do no harm.
    """
    serving = set(
        ServiceInstance.objects.filter(left_at=None, state__in=SERVING).values_list(
            "service__name", flat=True
        )
    )
    names = list(Service.objects.values_list("name", flat=True))
    asked = [name for name in names if name in serving and name != communicator.name]
    results = dict(run_coroutine(_ask_all(communicator, asked)))
    for name in names:
        if name == communicator.name:
            # A worker of the gateway is doing this; with one thread it could not answer as well.
            result = Result(State.UP, "answered", communicator.presence.health())
        else:
            # A request to a service that does not run would wait in its queue, for nobody.
            result = results.get(name) or Result(State.DOWN, "no instance is running")
        keep(name, result, utc_now())


def keep(name: str, result: Result, now: datetime) -> None:
    """Store a result as the service's last one, with a record if it says something new."""
    with transaction.atomic():
        service = Service.objects.select_for_update(no_key=True).filter(name=name).first()
        if service is None:
            return  # removed from the registry meanwhile
        last = service.last_health
        if (last.get("state"), last.get("cause")) != (result.state, result.cause):
            HealthRecord.objects.create(
                service=service,
                previous_state=last.get("state", ""),
                state=result.state,
                cause=storable(f"health check: {result.cause}"),
                at=now,
            )
        service.last_health_at = now
        service.last_health_json = json.dumps(asdict(result))
        service.save(update_fields=["last_health_at", "last_health_json"])


async def _ask_all(
    communicator: ServiceCommunicator, names: Iterable[str]
) -> list[tuple[str, Result]]:
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(name: str) -> tuple[str, Result]:
        async with places:
            return name, await _ask(communicator, name)

    return await asyncio.gather(*(ask(name) for name in names))


async def _ask(communicator: ServiceCommunicator, name: str) -> Result:
    try:
        answer = await communicator.request_async(name, HEALTH_CHECK, {}, timeout=ANSWER_SECONDS)
    except RequestTimeout:
        return Result(State.SUSPECT, f"no answer within {ANSWER_SECONDS:g} s")
    except ServiceNotFound as exc:
        return Result(State.DOWN, str(exc))
    except RemoteError as exc:
        return Result(State.SUSPECT, f"answered with an error: {exc}")
    except MessagingError as exc:
        # Not the service's fault: the question did not go out.
        return Result(State.UNKNOWN, f"could not be asked: {type(exc).__name__}")
    return Result(State.UP, "answered", answer)
