"""Pausing: a service keeps running and takes no messages, until an operator resumes it.

The registry says what is wanted; workers are told by remote control and remember it (see
`messaging.worker.consumption`). Whoever missed it says so with a heartbeat, and is told again: at
the next sweep if it still takes messages, at once if it takes none and should.
"""

import logging
from datetime import datetime
from typing import Final

from gateway_app import audit
from gateway_app.health.load import Load
from gateway_app.models import SERVING, QueuePause, Service, ServiceInstance
from messaging import MessagingError, ServiceCommunicator
from messaging.custody.link import Link
from messaging.database_threads import write_transaction

logger = logging.getLogger(__name__)

MAX_REASON: Final = 200


class NotPausable(ValueError):
    """Nothing was changed; the text says why."""


def pause(
    communicator: ServiceCommunicator,
    name: str,
    *,
    actor: str,
    reason: str,
    now: datetime,
    is_drained: bool = False,
) -> bool:
    """Have a service take no messages, from now on or once its queue is empty. Safe to repeat.

    What its workers have in hand is finished. What is sent to it meanwhile waits in its queue.
    That holds for workers that start later, and when broker and gateway are restarted.

    Args:
        communicator: of the gateway.
        name: the service.
        actor: who wants it, for the audit record.
        reason: why, text for people; `MAX_REASON` characters are kept.
        now: the present.
        is_drained: first let it handle what waits, and what comes until nothing does.

    Returns:
        Whether workers have been told already. If not, they are as soon as the broker answers.

    Raises:
        NotPausable: no such service, the gateway itself, or no reason.
    """
    reason = " ".join(reason.split())[:MAX_REASON]
    if not reason:
        raise NotPausable("a pause needs a reason: whoever is on duty will ask for it")
    if name == communicator.name:
        raise NotPausable(f"{name} keeps the registry, and cannot be paused")
    service = _service(name)
    wanted = {"is_draining": is_drained, "actor": actor, "reason": reason}
    with write_transaction():
        if not QueuePause.objects.filter(service=service, **wanted).exists():
            QueuePause.objects.update_or_create(service=service, defaults={**wanted, "since": now})
            action = "drain" if is_drained else "pause"
            audit.record(action, actor=actor, service=name, detail=reason, at=now)
    # Who drains what is paused has to take messages again.
    return _tell(communicator, name, is_paused=not is_drained, reason=reason)


def resume(communicator: ServiceCommunicator, name: str, *, actor: str, now: datetime) -> bool:
    """Have a service take messages again, or not stop when its queue is empty. Safe to repeat.

    Returns:
        Whether workers have been told already. If not, they are with their next heartbeats.

    Raises:
        NotPausable: no such service.
    """
    service = _service(name)
    with write_transaction():
        count, _ = QueuePause.objects.filter(service=service).delete()
        if count:
            audit.record("resume", actor=actor, service=name, at=now)
    return _tell(communicator, name, is_paused=False, reason="")


def heard(communicator: ServiceCommunicator, name: str, load_json: str) -> None:
    """Tell a service to take messages if one of its workers takes none and nobody wants that."""
    load = Load.of(load_json)
    if load is not None and load.is_paused and not _wanted(name):
        _tell(communicator, name, is_paused=False, reason="")


def registered(communicator: ServiceCommunicator, name: str) -> None:
    """Tell a service that is paused so, now that one of its workers has started."""
    wanted = _wanted(name)
    if wanted is not None:
        _tell(communicator, name, is_paused=True, reason=wanted.reason)


def sweep(communicator: ServiceCommunicator) -> None:
    """Pause what was drained and is empty; tell workers again that still take messages."""
    for wanted in QueuePause.objects.select_related("service"):
        name = wanted.service.name
        if wanted.is_draining:
            _end_drain(communicator, wanted)
        elif _takes_messages(wanted.service):
            _tell(communicator, name, is_paused=True, reason=wanted.reason)


def _service(name: str) -> Service:
    service = Service.objects.filter(name=name).first()
    if service is None:
        raise NotPausable(f"no service named {name!r} has registered")
    return service


def _wanted(name: str) -> QueuePause | None:
    return QueuePause.objects.filter(service__name=name, is_draining=False).first()


def _takes_messages(service: Service) -> bool:
    present = ServiceInstance.objects.filter(service=service, left_at=None, heard__in=SERVING)
    loads = [Load.of(text) for text in present.values_list("load_json", flat=True)]
    return any(load is not None and not load.is_paused for load in loads)


def _end_drain(communicator: ServiceCommunicator, wanted: QueuePause) -> None:
    name = wanted.service.name
    try:
        waiting = Link(communicator.bus).queue_length(name)
    except MessagingError as exc:
        logger.warning("whether %s is drained is not known: %s", name, exc)
        return
    if waiting:
        return
    with write_transaction():
        # Not if somebody has resumed it meanwhile.
        draining = QueuePause.objects.filter(pk=wanted.pk, is_draining=True)
        changed = draining.update(is_draining=False)
        if changed:
            audit.record("pause", actor=wanted.actor, service=name, detail="its queue is empty")
    if changed:
        _tell(communicator, name, is_paused=True, reason=wanted.reason)


def _tell(communicator: ServiceCommunicator, name: str, *, is_paused: bool, reason: str) -> bool:
    from messaging.worker.consumption import tell_workers  # Celery's worker loads late

    try:
        tell_workers(communicator.celery_app, name, is_paused=is_paused, reason=reason)
    except MessagingError as exc:
        logger.warning("%s; they are told again", exc)
        return False
    return True
