"""What requests are routed by: routes, schemas and instances, read from the registry.

Read again only where something has changed: one row tells whether, and each service by itself
which. So a look costs the same with three services and with a thousand.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from django.db import DatabaseError

from gateway_app.http.database import in_routing_thread
from gateway_app.http.known_tokens import NO_TOKENS, KnownTokens, read_tokens
from gateway_app.http.matching import RouteTree, Target
from gateway_app.http.schemas import Schema
from gateway_app.models import (
    SERVING,
    HandledType,
    RegistryStatus,
    Route,
    Service,
    ServiceInstance,
)
from messaging import MessagePriority
from messaging.clock import SYSTEM_CLOCK

logger = logging.getLogger(__name__)

#: What is this old is still used while it is read again, so that no request waits for that.
FRESH_SECONDS: Final = 1.0
#: What is older is waited for: nobody asked for a while, or the database was slow.
STALE_SECONDS: Final = 5.0
#: So long at most: a database that is slow must not stop the bus, which works without it.
WAIT_SECONDS: Final = 1.0
#: The first picture takes longer: of a thousand services with ten routes each, a second or two.
FIRST_SECONDS: Final = 10.0
#: Most services named in one query; SQLite takes 32,766 values.
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance that requests may go to."""

    instance_id: str
    host: str
    #: None: it has no HTTP server.
    port: int | None
    #: UP or SUSPECT.
    state: str


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """What routing knows of one service."""

    name: str
    #: With what they were registered in order of, the oldest first.
    targets: tuple[tuple[int, Target], ...] = ()
    #: Those that serve.
    instances: tuple[Instance, ...] = ()
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    maintenance_until: datetime | None = None

    @property
    def serves(self) -> bool:
        """Whether an instance is there to answer."""
        return bool(self.instances)


@dataclass(frozen=True, slots=True)
class Routing:
    """A picture of the registry. Never changes; `read` makes the next one."""

    revision: int
    services: Mapping[int, ServiceEntry]
    by_name: Mapping[str, ServiceEntry]
    tree: RouteTree
    tokens: KnownTokens = NO_TOKENS

    @property
    def instance_ids(self) -> Iterator[str]:
        """The ids of all instances that serve."""
        return (i.instance_id for entry in self.services.values() for i in entry.instances)

    @classmethod
    def of(
        cls,
        revision: int,
        services: Mapping[int, ServiceEntry],
        tokens: KnownTokens = NO_TOKENS,
    ) -> "Routing":
        """Return the routing by these services, and for who has these tokens."""
        offered = sorted(
            (each for entry in services.values() for each in entry.targets),
            key=lambda numbered: numbered[0],
        )
        return cls(
            revision=revision,
            services=services,
            by_name={entry.name: entry for entry in services.values()},
            tree=RouteTree(target for _, target in offered),
            tokens=tokens,
        )


NOTHING: Final = Routing.of(-1, {})


def read(known: Routing = NOTHING) -> Routing:
    """Return the routing as the database has it; the same object if nothing has changed.

    Args:
        known: what was read before; only services that have changed since are read.

    Raises:
        DatabaseError: it does not answer.
    """
    # First: what changes meanwhile is read now or the next time, and never missed.
    status = RegistryStatus.objects.values_list("revision", "tokens_revision").first()
    revision, tokens_revision = status or (0, 0)
    tokens = known.tokens
    if tokens_revision != tokens.revision:
        tokens = read_tokens(tokens_revision)
    if revision == known.revision:
        return known if tokens is known.tokens else replace(known, tokens=tokens)
    revisions = dict(Service.objects.values_list("pk", "revision"))
    changed = [
        pk for pk, at in revisions.items() if at > known.revision or pk not in known.services
    ]
    services = {pk: known.services[pk] for pk in revisions if pk in known.services}
    for start in range(0, len(changed), _CHUNK):
        services |= _read_services(changed[start : start + _CHUNK], known)
    if _routes_of(services) == _routes_of(known.services):
        by_name = {entry.name: entry for entry in services.values()}
        return Routing(revision, services, by_name, known.tree, tokens)
    return Routing.of(revision, services, tokens)


class RoutingCache:
    """The routing, read in the background once it is older than `FRESH_SECONDS`.

    While the database is away or slow, the last picture stays in use: the bus works without it.

    Args:
        read: gets the last picture and returns the present one; runs on a database thread.
        monotonic: seconds, for tests to move.
    """

    def __init__(
        self,
        read: Callable[[Routing], Routing] = read,
        monotonic: Callable[[], float] = SYSTEM_CLOCK.monotonic,
    ) -> None:
        self._read = read
        self._monotonic = monotonic
        self._routing = NOTHING
        #: When a look last began: any, and one that came to its end.
        self._read_at: float | None = None
        self._known_at: float | None = None
        self._reading: asyncio.Task[None] | None = None
        self._is_database_away = False

    @property
    def age_seconds(self) -> float:
        """How long ago what `current` returns was known to be so; infinite before the first."""
        return math.inf if self._known_at is None else self._monotonic() - self._known_at

    async def current(self) -> Routing:
        """Return the routing; within `WAIT_SECONDS`, the first time within `FIRST_SECONDS`.

        Raises:
            DatabaseError: nothing has been read yet, and the database does not answer.
        """
        age = None if self._read_at is None else self._monotonic() - self._read_at
        if age is None or age > FRESH_SECONDS:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read_again())
                self._reading.add_done_callback(self._done)
            if age is None:
                await self._first(self._reading)
            elif age > STALE_SECONDS and not self._is_database_away:
                await self._wait_for(self._reading)
        return self._routing

    async def close(self) -> None:
        """Wait for what is being read."""
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def _first(self, reading: "asyncio.Task[None]") -> None:
        """Wait for what is read for the first time. There is nothing to do without it."""
        done, _ = await asyncio.wait([reading], timeout=FIRST_SECONDS)
        if not done:
            raise DatabaseError(f"no answer within {FIRST_SECONDS:g} s")
        reading.result()

    async def _wait_for(self, reading: "asyncio.Task[None]") -> None:
        done, _ = await asyncio.wait([reading], timeout=WAIT_SECONDS)
        if done:
            reading.result()
        else:
            self._do_without(f"no answer within {WAIT_SECONDS:g} s")

    def _do_without(self, why: object) -> None:
        """Use the last picture, without waiting, until the database works again."""
        if not self._is_database_away:
            logger.warning("the registry cannot be read; its last picture is used: %s", why)
        self._is_database_away = True

    async def _read_again(self) -> None:
        began = self._monotonic()
        try:
            self._routing = await in_routing_thread(self._read, self._routing)
        except DatabaseError as exc:
            if self._read_at is None:
                raise
            self._do_without(exc)
        else:
            self._known_at = began
            if self._monotonic() - began <= WAIT_SECONDS:
                self._is_database_away = False
        self._read_at = began

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._reading = None
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody else needs to be told


def _routes_of(services: Mapping[int, ServiceEntry]) -> dict[int, tuple[tuple[int, Target], ...]]:
    return {pk: entry.targets for pk, entry in services.items()}


def _read_services(keys: Iterable[int], known: Routing) -> dict[int, ServiceEntry]:
    keys = list(keys)
    targets: dict[int, list[tuple[int, Target]]] = {}
    # The oldest first: of two routes that match the same it is the one that counts.
    for route in Route.objects.filter(service__in=keys).order_by("pk").select_related("service"):
        targets.setdefault(route.service_id, []).append((route.pk, _target(route)))
    instances: dict[int, list[Instance]] = {}
    serving = ServiceInstance.objects.filter(service__in=keys, left_at=None, state__in=SERVING)
    for instance in serving:
        instances.setdefault(instance.service_id, []).append(
            Instance(instance.instance_id, instance.host, instance.port, instance.state)
        )
    schemas: dict[int, dict[str, Schema]] = {}
    for handled in HandledType.objects.filter(service__in=keys).exclude(schema_json=""):
        schema = Schema(handled.schema_json)
        before = known.services.get(handled.service_id)
        same = before.schemas.get(handled.type) if before else None
        # The one that is known has been prepared, and its faults have been logged.
        schemas.setdefault(handled.service_id, {})[handled.type] = (
            same if same == schema and same is not None else schema
        )
    return {
        service.pk: ServiceEntry(
            name=service.name,
            targets=tuple(targets.get(service.pk, ())),
            instances=tuple(instances.get(service.pk, ())),
            schemas=schemas.get(service.pk, {}),
            maintenance_until=service.maintenance_until,
        )
        for service in Service.objects.filter(pk__in=keys)
    }


def _target(route: Route) -> Target:
    options = route.options
    priority = options.get("priority")
    return Target(
        method=route.method,
        path=route.path,
        service=route.service.name,
        message=route.message,
        priority=MessagePriority(priority) if priority else None,
        timeout_seconds=options.get("timeout"),
        rate=options.get("rate"),
        concurrency=options.get("concurrency"),
        max_body_bytes=options.get("max_body_bytes"),
        auth=options.get("auth"),
    )
