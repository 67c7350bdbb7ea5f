"""What services declare that recurs: what the newest running instance says holds."""

from datetime import datetime

from django.db.models import Q

from gateway_app import audit
from gateway_app.models import RecurringMessage, ServiceInstance
from gateway_app.recurring import sending
from gateway_app.registry.registrations import Registration
from messaging.database_threads import write_transaction


def declare(registration: Registration, now: datetime) -> None:
    """Put on record what a registration says that recurs; end what it does not say any more.

    What is as before goes on as before, paused or not. Safe to repeat.
    """
    service = registration.name
    said = {each.name: each for each in registration.recurring}
    known = RecurringMessage.objects.filter(service=service)
    if not (said or known.exists()):
        return
    with write_transaction():
        if not _is_newest(registration):
            return
        rows = {row.name: row for row in known.select_for_update()}
        for name, recurrence in said.items():
            columns = RecurringMessage.columns_of(recurrence)
            row = rows.pop(name, None)
            if row is None:
                row = RecurringMessage(service=service, name=name, **columns)
                row.save()
                _note("declared", row)
            elif any(getattr(row, column) != value for column, value in columns.items()):
                for column, value in columns.items():
                    setattr(row, column, value)
                row.save(update_fields=list(columns))
                _note("changed", row)
            else:
                continue
            sending.set_next(row, now)
        for row in rows.values():
            _note("ended", row)
            row.delete()


def _is_newest(registration: Registration) -> bool:
    """Return whether no instance of the service runs that came after this one.

    One of an older version registers again when the registry has forgotten it.
    """
    this = ServiceInstance.objects.filter(instance_id=registration.instance_id)
    came_at = this.values_list("registered_at", flat=True).first()
    if came_at is None:
        return False
    later = Q(service__name=registration.name, left_at=None, registered_at__gt=came_at)
    return not ServiceInstance.objects.filter(later).exists()


def _note(how: str, row: RecurringMessage) -> None:
    audit.record(
        "recurring", actor=f"service:{row.service}", service=row.target, detail=f"{row}: {how}"
    )
