"""Replays of many dead letters that go on whatever becomes of pages and processes."""

import json
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from gateway_app.models.deadletters import DeadLetter


class RunState(models.TextChoices):
    """How a run is doing."""

    RUNNING = "running"
    #: By an operator.
    STOPPED = "stopped"
    #: Nothing was left to do.
    ENDED = "ended"
    #: It stopped itself; `ReplayRun.why` says why.
    FAILED = "failed"


class ItemOutcome(models.TextChoices):
    """What has become of one dead letter of a run."""

    TO_GO = "to_go"
    #: Replayed; nothing is known of it yet.
    SENT = "sent"
    #: Failed again, and its service will try it again later. Counted as sent.
    RETRYING = "retrying"
    HANDLED = "handled"
    #: A dead letter once more, or ended otherwise without being handled.
    PARKED_AGAIN = "parked_again"
    #: Left as it is: handled meanwhile, sent with other data, or not to be replayed.
    SKIPPED = "skipped"


#: Its outcome is still to come.
OPEN_OUTCOMES = (ItemOutcome.SENT, ItemOutcome.RETRYING)


class ReplayRun(models.Model):
    """A replay of many dead letters, as far as it has come."""

    #: Of whoever started it: the same key is the same run.
    key = models.CharField(max_length=100, unique=True)
    #: What was chosen, as JSON text; the same choice is the same text.
    wanted_json = models.TextField()
    #: Of that text; one run of a choice at a time.
    choice = models.CharField(max_length=64)
    #: Empty where something else than a group was chosen.
    fingerprint = models.CharField(max_length=16, blank=True, db_index=True)
    actor = models.CharField(max_length=200)
    #: At most so many a second.
    rate = models.PositiveIntegerField()
    #: Whether only a few were taken, to see how they do.
    canary = models.BooleanField(default=False)
    state = models.CharField(max_length=7, choices=RunState, default=RunState.RUNNING)
    total = models.PositiveIntegerField()
    to_go = models.PositiveIntegerField()
    sent = models.PositiveIntegerField(default=0)
    handled = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    parked_again = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    #: The next one is not replayed before.
    next_at = models.DateTimeField()
    #: When something last became of any of it.
    moved_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True, db_index=True)
    #: Why it is not running any more; text for people.
    why = models.TextField(blank=True)

    class Meta:
        """Newest first; one that runs for each choice; each letter is somewhere in the counts."""

        ordering: ClassVar = ["-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["choice"], condition=Q(state="running"), name="gateway_replay_run_alone"
            ),
            models.CheckConstraint(
                condition=Q(
                    total=models.F("to_go")
                    + models.F("sent")
                    + models.F("handled")
                    + models.F("skipped")
                    + models.F("parked_again")
                ),
                name="gateway_replay_run_adds_up",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["id"], condition=Q(state="running"), name="gateway_replay_run_running"
            )
        ]

    def __str__(self) -> str:
        return f"run {self.pk}: {self.state}, {self.to_go} of {self.total} to go"

    @property
    def wanted(self) -> dict[str, Any]:
        """What was chosen, by the names of `deadletters.FILTERS`."""
        return dict(json.loads(self.wanted_json))


class ReplayRunItem(models.Model):
    """One dead letter of a run."""

    run = models.ForeignKey(ReplayRun, models.CASCADE, related_name="items")
    letter = models.ForeignKey(DeadLetter, models.CASCADE, related_name="run_items")
    outcome = models.CharField(max_length=12, choices=ItemOutcome, default=ItemOutcome.TO_GO)
    #: When the outcome last changed.
    moved_at = models.DateTimeField(null=True)
    #: Why it was skipped or failed again; text for people.
    detail = models.TextField(blank=True)

    class Meta:
        """In the order in which they are replayed; a letter once in a run."""

        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "letter"], name="gateway_replay_item_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["run", "outcome", "id"], name="gateway_replay_item_next"),
            models.Index(fields=["run", "-moved_at"], name="gateway_replay_item_last"),
        ]

    def __str__(self) -> str:
        return f"{self.letter_id}: {self.outcome}"
