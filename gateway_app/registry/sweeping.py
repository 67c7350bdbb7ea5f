"""What time alone does to instances: silence, the end of maintenance, and being forgotten."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, QuerySet

from gateway_app import held
from gateway_app.models import Service, ServiceInstance, State
from gateway_app.registry import maintenance, registry_status
from gateway_app.registry.own_fault import is_own_fault
from gateway_app.registry.transitions import Step, changing, serving, take_all
from gateway_app.registry.verdicts import silent_seconds
from messaging.apps import configured

logger = logging.getLogger(__name__)


def sweep(now: datetime) -> None:
    """Let who is silent go from UP to SUSPECT to DOWN and out of the registry.

    One step per sweep: when the broker was away, or the clock has jumped forward, everybody was
    silent, and has until the next sweep to be heard. If most are silent at once, all stay SUSPECT:
    the fault is rather the registry's own; nor does the sweep take anyone down that finds them
    back, since some may be a moment later than others.

    An instance that was heard of in the future, by a clock that has jumped back since, counts as
    heard now: otherwise it would look alive until that future has come, dead or not.

    Ends maintenance whose time has come, and lets out what is held for services that serve. Run
    every ``heartbeat_seconds``; two sweeps at once do no harm.
    """
    from_the_future = _present().filter(last_seen_at__gt=now)
    take_all((Step(instance, "", {"last_seen_at": now}) for instance in from_the_future), now)
    maintenance.end_what_is_over(now)
    is_held_back = _is_held_back(now)
    gone = [] if is_held_back else _gone(now)  # before the others take their step
    take_all(_silence(now, is_held_back), now)
    for instance in gone:
        with changing(instance.service_id, now) as change:
            change.forget(instance, f"silent for {silent_seconds(instance, now):.0f} s")
    gone_since = now - timedelta(seconds=configured().gone_seconds)
    ServiceInstance.objects.filter(left_at__lte=gone_since).delete()
    registry_status.row().update(swept_at=now)
    _let_out(now)


def _present() -> QuerySet[ServiceInstance]:
    return ServiceInstance.objects.filter(left_at=None)


def _silent_for(seconds: float, now: datetime) -> QuerySet[ServiceInstance]:
    return _present().filter(last_seen_at__lte=now - timedelta(seconds=seconds))


def _silence(now: datetime, is_held_back: bool) -> Iterable[Step]:
    """Yield one step for each instance that has been silent for long enough."""
    config = configured()
    silent = _silent_for(config.suspect_seconds, now).exclude(heard=State.DOWN)
    for instance in silent:
        if instance.heard == State.UP:
            yield Step(instance, "", {"heard": State.SUSPECT})
        elif silent_seconds(instance, now) >= config.down_seconds and not is_held_back:
            yield Step(instance, "", {"heard": State.DOWN})


def _gone(now: datetime) -> list[ServiceInstance]:
    # Whoever is in maintenance is meant to be silent, and stays.
    silent = _silent_for(configured().gone_seconds, now).filter(heard=State.DOWN)
    return list(silent.exclude(state=State.MAINTENANCE))


def _is_held_back(now: datetime) -> bool:
    """Return whether nobody is taken down now: most are silent at once, or were a sweep ago."""
    config = configured()
    # Who is DOWN already fell silent by itself.
    watched = _present().exclude(state=State.MAINTENANCE).exclude(heard=State.DOWN)
    count = watched.count()
    silent_since = now - timedelta(seconds=config.suspect_seconds)
    silent = watched.filter(last_seen_at__lte=silent_since).count()
    is_mass = is_own_fault(silent, count)
    had_been = registry_status.load().mass_silence_since is not None
    status = registry_status.row()
    if is_mass:
        if status.filter(mass_silence_since=None).update(mass_silence_since=now):
            logger.warning(
                "%d of %d instances are silent at once: the registry suspects itself or the "
                "broker and keeps them",
                silent,
                count,
            )
    elif status.exclude(mass_silence_since=None).update(mass_silence_since=None):
        logger.warning("most instances are heard of again: the registry trusts itself")
    return is_mass or had_been


def _let_out(now: datetime) -> None:
    names = held.waiting_services()
    back = Service.objects.filter(Exists(serving(OuterRef("pk"))), name__in=names)
    for name, returned_at in back.values_list("name", "returned_at"):
        held.let_out(name, returned_at, now)
