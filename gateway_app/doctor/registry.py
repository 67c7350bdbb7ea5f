"""The registry: somebody keeps it, and what instances say of themselves fits together."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from gateway_app import leases, traps
from gateway_app.beat import ROLE
from gateway_app.bus import communicator
from gateway_app.doctor.finding import Finding, LayerBroken, fine, trapped
from gateway_app.models import RegistryStatus, Service, ServiceInstance
from gateway_app.ops import figures
from gateway_app.registry import registry_status
from messaging.envelope import utc_now

#: A heartbeat takes less, unless the gateway is behind; with a clock so far off messages that
#: expire, heartbeats first, expire early or late.
CLOCK_SECONDS: Final = 5.0


def look() -> Iterator[Finding]:
    """Yield whether it is kept, and what its instances tell."""
    now = utc_now()
    limit = timedelta(seconds=communicator.bus.config.down_seconds)
    heard = list(
        ServiceInstance.objects.filter(left_at=None, last_seen_at__gte=now - limit).select_related(
            "service"
        )
    )
    workers = [each for each in heard if each.service.name == communicator.name]
    if not workers:
        text = f"none was heard of within {limit.total_seconds():g} s"
        raise LayerBroken("Gateway worker", traps.NO_GATEWAY_WORKER, text)
    yield fine("Gateway worker", f"{figures.plural(len(workers), 'worker')} alive")
    yield _beat(now)
    yield from _databases(heard)
    yield from _clocks(heard)
    yield from _timeouts(heard)
    yield from _subscribers(heard)


def _beat(now: datetime) -> Finding:
    status = RegistryStatus.objects.first()
    swept_at = status.swept_at if status else None
    if swept_at is None or registry_status.is_stale(swept_at, now):
        since = f"since {figures.instant(swept_at, now)}" if swept_at else "ever"
        return trapped("Beat", traps.NO_BEAT, f"nobody has looked for silent instances {since}")
    ago = figures.duration_text(max(0.0, (now - swept_at).total_seconds()))
    return fine("Beat", f"looked {ago} ago; {leases.holder_of(ROLE) or 'nobody'} acts")


def _databases(heard: list[ServiceInstance]) -> Iterator[Finding]:
    databases: dict[str, dict[str, str]] = defaultdict(dict)
    for instance in heard:
        if database := instance.load.get("database"):
            databases[instance.service.name][str(database)] = instance.host
    for service, known in sorted(databases.items()):
        if len(known) > 1:
            text = f"{service} has {len(known)}, on {', '.join(sorted(known.values()))}"
            yield trapped("Databases", traps.SEVERAL_DATABASES, text)
    if databases and all(len(known) == 1 for known in databases.values()):
        yield fine("Databases", "one for all instances of each service")


def _clocks(heard: list[ServiceInstance]) -> Iterator[Finding]:
    """Compare each heartbeat's time with when it came: on its way it takes a moment at most."""
    off = [(seconds, each) for each in heard if (seconds := _seconds_off(each)) is not None]
    wrong = [(seconds, each) for seconds, each in off if abs(seconds) > CLOCK_SECONDS]
    for seconds, instance in wrong:
        how = "behind" if seconds > 0 else "ahead"
        text = f"{instance} is {figures.duration_text(abs(seconds))} {how} of the gateway"
        yield trapped("Clocks", traps.CLOCKS_APART, text)
    if off and not wrong:
        yield fine("Clocks", f"{figures.plural(len(off), 'instance')}: as the gateway's")


def _seconds_off(instance: ServiceInstance) -> float | None:
    at: Any = instance.load.get("at")
    try:
        return (instance.last_seen_at - datetime.fromisoformat(at)).total_seconds()
    except (TypeError, ValueError):
        return None  # it does not say, or in another way


def _timeouts(heard: list[ServiceInstance]) -> Iterator[Finding]:
    """Compare the timeouts that handlers name for themselves with Redis's patience."""
    bus = communicator.bus
    if bus.profile.name != "redis":
        return
    visible = bus.config.redis_visibility_timeout_seconds
    slow = {
        each.service.name: float(each.load.get("longest_timeout", 0.0))
        for each in heard
        if float(each.load.get("longest_timeout", 0.0)) >= visible
    }
    for service, seconds in sorted(slow.items()):
        text = f"{service} has a handler with {seconds:g} s, Redis waits {visible} s"
        yield trapped("Handlers", traps.LONG_HANDLER, text)
    if not slow:
        yield fine("Handlers", "none may take longer than Redis waits")


def _subscribers(heard: list[ServiceInstance]) -> Iterator[Finding]:
    alive = {each.service_id for each in heard}
    wanting = Service.objects.filter(subscriptions__isnull=False).exclude(pk__in=alive).distinct()
    if names := list(wanting.values_list("name", flat=True)):
        yield trapped("Subscribers", traps.NOBODY_LISTENS, f"not running: {', '.join(names)}")
    else:
        yield fine("Subscribers", "every subscribed service runs")
