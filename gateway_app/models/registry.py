"""Services, their instances, and what they offer."""

import json
from typing import Any, ClassVar

from django.db import models

from gateway_app.models.states import State


class RegistryStatus(models.Model):
    """The one row about the registry itself. Made by the first who needs it."""

    #: Grows by one with every change that routing depends on, in the transaction that makes it:
    #: states, addresses, routes, schemas. Not with heartbeats.
    revision = models.BigIntegerField(default=0)
    #: Grows by one with every API token that is made or revoked.
    tokens_revision = models.BigIntegerField(default=0)
    #: When somebody last looked for silent instances; what the registry says is as old as this.
    swept_at = models.DateTimeField(null=True, blank=True)
    #: Since when most instances are silent at once, and the registry blames itself for it.
    mass_silence_since = models.DateTimeField(null=True, blank=True)
    #: The last health round: when it ended, how long it took, how many services it asked.
    round_at = models.DateTimeField(null=True, blank=True)
    round_seconds = models.FloatField(default=0.0)
    round_services = models.PositiveIntegerField(default=0)

    class Meta:
        """One row."""

        verbose_name_plural = "registry status"

    def __str__(self) -> str:
        return f"registry at revision {self.revision}"


class Lease(models.Model):
    """A role that one process has at a time, until an instant it moves ahead while it lives."""

    role = models.CharField(max_length=100, unique=True)
    #: Unique to one start of one process; empty: nobody.
    holder = models.CharField(max_length=200, blank=True)
    expires_at = models.DateTimeField()

    class Meta:
        """By role."""

        ordering: ClassVar = ["role"]

    def __str__(self) -> str:
        return f"{self.role}: {self.holder or 'nobody'}"


class Service(models.Model):
    """A name on the bus. Stays when its last instance is gone."""

    name = models.CharField(max_length=100, unique=True)
    #: Of the instance that is there and registered last.
    version = models.CharField(max_length=100, blank=True)
    #: Shown as DOWN when it has no instance any more; otherwise not shown then.
    tracked = models.BooleanField(default=True)
    #: `RegistryStatus.revision` at the last change of what routing knows of this service.
    revision = models.BigIntegerField(default=0, db_index=True)
    #: Its instances, and those that come, are in maintenance until then.
    maintenance_until = models.DateTimeField(null=True, blank=True)
    #: When an instance last began to serve after none did: what was held is let out from then on.
    returned_at = models.DateTimeField(null=True, blank=True)
    #: Health checks by message that failed in a row.
    health_failures = models.PositiveIntegerField(default=0)
    #: When the last health round came to a result.
    last_health_at = models.DateTimeField(null=True, blank=True)
    #: That result: state, cause, and the answer if there was one. Empty before the first. JSON
    #: text, not a JSON column: PostgreSQL's cannot hold every JSON text.
    last_health_json = models.TextField(blank=True)

    class Meta:
        """By name."""

        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def last_health(self) -> dict[str, Any]:
        """What the last health round found out; empty before the first."""
        return json.loads(self.last_health_json) if self.last_health_json else {}


class OfferedSet(models.Model):
    """What instances of a service offer as each of them says it: one row for all that agree."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="offered_sets")
    #: Of the text, to find it by.
    digest = models.CharField(max_length=64)
    #: Routes, handled types and subscriptions; see `registry.offered`. JSON text.
    offers_json = models.TextField()

    class Meta:
        """The same once per service."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service", "digest"], name="gateway_offered_set_once")
        ]

    def __str__(self) -> str:
        return self.digest


class ServiceInstance(models.Model):
    """One start of one process of a service."""

    instance_id = models.CharField(max_length=100, unique=True)
    service = models.ForeignKey(Service, models.CASCADE, related_name="instances")
    version = models.CharField(max_length=100, blank=True)
    host = models.CharField(max_length=255, blank=True)
    port = models.PositiveIntegerField(null=True, blank=True)
    #: Path on that host and port; empty where it has none.
    health_endpoint = models.CharField(max_length=500, blank=True)
    #: What follows from everything below; see `verdicts`.
    state = models.CharField(max_length=11, choices=State, default=State.UP)
    #: What its heartbeats alone say: UP, SUSPECT or DOWN.
    heard = models.CharField(max_length=11, choices=State, default=State.UP)
    maintenance_until = models.DateTimeField(null=True, blank=True)
    #: Of its health endpoint: failures in a row, and the last one.
    probe_failures = models.PositiveIntegerField(default=0)
    probe_error = models.CharField(max_length=200, blank=True)
    #: Why it counts as wedged: it lives, takes no messages, and some wait. Empty: it does not.
    wedged = models.CharField(max_length=200, blank=True)
    #: What its own checks say, by name, as JSON text; empty where it has none.
    checks_json = models.TextField(blank=True)
    #: Its load with the last heartbeat, as JSON text.
    load_json = models.TextField(blank=True)
    #: What it says about itself, free for the application, as JSON text.
    metadata_json = models.TextField(blank=True)
    #: What it offers; None: it has not said so.
    offers = models.ForeignKey(
        OfferedSet, models.SET_NULL, null=True, blank=True, related_name="instances"
    )
    #: When it said so first, by its own clock.
    offered_at = models.DateTimeField(null=True, blank=True)
    registered_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    #: When it said goodbye. The row stays for a while, so that a message of its that comes late
    #: does not bring it back.
    left_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """In the order in which they came."""

        ordering: ClassVar = ["registered_at", "pk"]

    def __str__(self) -> str:
        return f"{self.service.name} on {self.host} ({self.instance_id[:8]})"

    @property
    def checks(self) -> dict[str, Any]:
        """What its own checks say: ``{name: {"ok": …, "text": …}}``."""
        return json.loads(self.checks_json) if self.checks_json else {}

    @property
    def load(self) -> dict[str, Any]:
        """What it said of its load with the last heartbeat; see `presence.Presence.health`."""
        return json.loads(self.load_json) if self.load_json else {}

    @property
    def metadata(self) -> dict[str, Any]:
        """What it says about itself."""
        return json.loads(self.metadata_json) if self.metadata_json else {}


class Route(models.Model):
    """An HTTP route of the gateway and the service that answers it."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="routes")
    method = models.CharField(max_length=10)
    #: As clients see it; ``{name}`` takes one segment.
    path = models.CharField(max_length=500)
    #: The path without the names of what it takes: paths of one shape match the same.
    shape = models.CharField(max_length=500)
    #: Type of the request sent to the service; empty: the route is not one of the bus.
    message = models.CharField(max_length=200, blank=True)
    #: Its priority, timeout and limits where they are not the gateway's own, as JSON text.
    options_json = models.TextField(blank=True)

    class Meta:
        """A method and path belong to one service; found by what matches the same."""

        ordering: ClassVar = ["path", "method"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["method", "path"], name="gateway_route_once")
        ]
        indexes: ClassVar = [models.Index(fields=["shape", "method"], name="gateway_route_shape")]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def options(self) -> dict[str, Any]:
        """Priority, timeout and limits, as `messaging.Route` names them."""
        return json.loads(self.options_json) if self.options_json else {}


class Subscription(models.Model):
    """A pattern of broadcasts that a service wants, whether or not an instance of it runs."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="subscriptions")
    pattern = models.CharField(max_length=200)

    class Meta:
        """Each pattern once per service."""

        ordering: ClassVar = ["pattern"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["service", "pattern"], name="gateway_subscription_once"
            )
        ]

    def __str__(self) -> str:
        return self.pattern


class HandledType(models.Model):
    """A message type that a service has a handler for."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="handled_types")
    type = models.CharField(max_length=200)
    #: JSON Schema of its data, as JSON text; empty where the service published none.
    schema_json = models.TextField(blank=True)

    class Meta:
        """Each type once per service."""

        ordering: ClassVar = ["type"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service", "type"], name="gateway_handled_type_once")
        ]

    def __str__(self) -> str:
        return self.type

    @property
    def schema(self) -> dict[str, Any] | None:
        """JSON Schema of its data; None where the service published none."""
        return json.loads(self.schema_json) if self.schema_json else None
