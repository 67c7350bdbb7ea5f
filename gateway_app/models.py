"""What the gateway keeps: services and their instances, health records, dead letters."""

import json
from typing import Any, ClassVar

from django.db import models

from messaging.deadletter import DeadLetterReason


class State(models.TextChoices):
    """How an instance, or a service as a whole, is doing."""

    UP = "UP"
    #: Silent for a while; still trusted with requests.
    SUSPECT = "SUSPECT"
    #: Taken out by hand.
    MAINTENANCE = "MAINTENANCE"
    #: Nothing has been heard of it yet, or it has been forgotten.
    UNKNOWN = "UNKNOWN"
    DOWN = "DOWN"


#: From best to worst: a service is as well as its best instance.
BEST_FIRST: tuple[State, ...] = tuple(State)

#: Instances in these states get requests.
SERVING: tuple[State, ...] = (State.UP, State.SUSPECT)


def best_of(states: list[str]) -> State:
    """Return the state of a service whose instances are in these states; DOWN if it has none."""
    return min(map(State, states), key=BEST_FIRST.index, default=State.DOWN)


class Service(models.Model):
    """A name on the bus. Stays when its last instance is gone."""

    name = models.CharField(max_length=100, unique=True)
    #: Of the instance that registered last.
    version = models.CharField(max_length=100, blank=True)
    #: Shown as DOWN when it has no instance any more; otherwise not shown then.
    tracked = models.BooleanField(default=True)
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


class ServiceInstance(models.Model):
    """One start of one process of a service."""

    instance_id = models.CharField(max_length=100, unique=True)
    service = models.ForeignKey(Service, models.CASCADE, related_name="instances")
    version = models.CharField(max_length=100, blank=True)
    host = models.CharField(max_length=255, blank=True)
    port = models.PositiveIntegerField(null=True, blank=True)
    #: Path on that host and port; empty where it has none.
    health_endpoint = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=11, choices=State, default=State.UP)
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


class Route(models.Model):
    """An HTTP route of the gateway and the service that answers it."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="routes")
    method = models.CharField(max_length=10)
    #: As clients see it; ``{name}`` takes one segment.
    path = models.CharField(max_length=500)
    #: Type of the request sent to the service; empty: the route is not one of the bus.
    message = models.CharField(max_length=200, blank=True)

    class Meta:
        """A method and path belong to one service."""

        ordering: ClassVar = ["path", "method"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["method", "path"], name="gateway_route_once")
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


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

    class Meta:
        """Each type once per service."""

        ordering: ClassVar = ["type"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service", "type"], name="gateway_handled_type_once")
        ]

    def __str__(self) -> str:
        return self.type


class HealthRecord(models.Model):
    """A change of state and its cause. Outlives the instance it is about."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="health_records")
    #: Empty: a health round found this out about the service as a whole.
    instance_id = models.CharField(max_length=100, blank=True)
    #: Empty where nothing was known before.
    previous_state = models.CharField(max_length=11, choices=State, blank=True)
    state = models.CharField(max_length=11, choices=State)
    #: Text for people.
    cause = models.TextField()
    at = models.DateTimeField(db_index=True)

    class Meta:
        """Newest first."""

        ordering: ClassVar = ["-at", "-pk"]

    def __str__(self) -> str:
        return f"{self.previous_state or 'new'} → {self.state}: {self.cause}"


class DeadLetterState(models.TextChoices):
    """What has become of a dead letter."""

    PARKED = "parked"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


class DeadLetter(models.Model):
    """A message that a service gave up, with everything needed to understand and replay it."""

    message_id = models.CharField(max_length=200)
    #: Who gave it up.
    service = models.CharField(max_length=100, db_index=True)
    #: Of the envelope: 0, and 1 more with each replay.
    generation = models.PositiveIntegerField(default=0)
    #: Type, source and priority are empty where the body was no envelope.
    type = models.CharField(max_length=200, blank=True, db_index=True)
    source = models.CharField(max_length=100, blank=True)
    priority = models.CharField(max_length=8, blank=True)
    reason = models.CharField(
        max_length=20, choices=[(reason.value, reason.value) for reason in DeadLetterReason]
    )
    #: Text for people.
    error = models.TextField(blank=True)
    traceback = models.TextField(blank=True)
    attempts = models.PositiveIntegerField(default=0)
    service_version = models.CharField(max_length=100, blank=True)
    #: The envelope as JSON text.
    envelope_json = models.TextField(blank=True)
    #: What came, byte for byte, where it was no envelope.
    raw_body = models.BinaryField(null=True, blank=True)
    #: Content type and headers of such a body, as JSON text.
    raw_headers_json = models.TextField(blank=True)
    #: Whether nobody can tell that its effect is not there already; replaying it needs force.
    may_have_been_handled = models.BooleanField(default=False)
    parked_at = models.DateTimeField(db_index=True)
    state = models.CharField(max_length=9, choices=DeadLetterState, default=DeadLetterState.PARKED)

    class Meta:
        """One per message, service and generation: parking is safe to repeat."""

        ordering: ClassVar = ["-parked_at", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["message_id", "service", "generation"], name="gateway_dead_letter_once"
            )
        ]
        permissions: ClassVar = [
            ("replay_deadletter", "Can replay and discard dead letters"),
            ("view_payload", "Can see what messages say"),
        ]

    def __str__(self) -> str:
        return f"{self.type or 'unreadable'} ({self.message_id}): {self.reason}"

    @property
    def envelope(self) -> dict[str, Any] | None:
        """The envelope; None where the body was none."""
        return json.loads(self.envelope_json) if self.envelope_json else None

    @property
    def raw_headers(self) -> dict[str, Any] | None:
        """Content type and headers of a body that was no envelope."""
        return json.loads(self.raw_headers_json) if self.raw_headers_json else None


class AuditRecord(models.Model):
    """Who did what to messages, and when. Written in the transaction that does it."""

    at = models.DateTimeField(db_index=True)
    #: A user of the admin, or ``command:`` and the user of the host.
    actor = models.CharField(max_length=200)
    #: ``replay``, ``discard``, ``resolve``, ``reopen``.
    action = models.CharField(max_length=20)
    message_id = models.CharField(max_length=200, db_index=True)
    service = models.CharField(max_length=100)
    #: Text for people.
    detail = models.TextField(blank=True)

    class Meta:
        """Newest first."""

        ordering: ClassVar = ["-at", "-pk"]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.message_id} at {self.service}"
