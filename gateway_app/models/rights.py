"""Permissions that belong to no table."""

from typing import ClassVar

from django.db import models


class BusRights(models.Model):
    """What users may do with the bus; see `ops.rights`. Has no table."""

    class Meta:
        """Permissions alone."""

        managed = False
        default_permissions = ()
        permissions: ClassVar = [
            ("view_bus", "Can see the operator pages"),
            ("operate_bus", "Can replay, discard, pause and put into maintenance"),
            ("edit_payload", "Can see what messages say, and send it changed"),
        ]

    def __str__(self) -> str:
        return "rights"
