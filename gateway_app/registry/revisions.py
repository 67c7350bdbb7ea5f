"""The revision of the registry: a number that grows with what routing has to know.

Who routes remembers the revision it read at and, when the one row says another, reads the services
whose revision is newer. The row is locked from the change of the number to the commit, so that
revisions become visible in order: nobody who has seen one misses a smaller one.

Transactions lock in this order, or they would wait for each other for ever: service, instances
by primary key, this row.
"""

from django.db import transaction
from django.db.models import F

from gateway_app.models import RegistryStatus, Service
from gateway_app.registry import registry_status


def touch(service_pk: int) -> int:
    """Note, in the caller's transaction, that something changed which routing knows of a service.

    Returns:
        The new revision of the registry and of the service.
    """
    with transaction.atomic(savepoint=False):
        lock()
        rows = registry_status.row()
        rows.update(revision=F("revision") + 1)
        revision = int(rows.values_list("revision", flat=True).get())
        Service.objects.filter(pk=service_pk).update(revision=revision)
    return revision


def lock() -> None:
    """Have who changes routes or revisions wait until the end of this transaction."""
    registry_status.load()
    RegistryStatus.objects.select_for_update().get(pk=registry_status.ROW)
