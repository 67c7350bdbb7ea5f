"""API tokens: who may call which routes of the gateway over HTTP."""

import json
from datetime import datetime
from typing import ClassVar

from django.db import models


class ApiToken(models.Model):
    """What a caller shows to be let through. Its secret is not kept, and cannot be shown again."""

    #: Who has it and what for, text for people.
    name = models.CharField(max_length=100)
    #: The part of its text that is no secret: what it is found and spoken of by.
    public_id = models.CharField(max_length=12, unique=True)
    #: SHA-256 of the secret part, as hex. A fast hash is right here: the secret is 256 random
    #: bits, of which nobody can try enough; slow hashes are for passwords, which people choose.
    secret_hash = models.CharField(max_length=64)
    #: Which routes it opens, as a JSON list; see `tokens.covers`.
    scopes_json = models.TextField()
    #: A user of the admin, or ``command:`` and the user of the host.
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    #: Not let through from then on; None: never.
    expires_at = models.DateTimeField(null=True, blank=True)
    #: When a request last came with it; up to a minute behind. None: never.
    last_used_at = models.DateTimeField(null=True, blank=True)
    #: When it was taken back; None: it was not.
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """Newest first."""

        ordering: ClassVar = ["-created_at", "-pk"]
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    @property
    def scopes(self) -> list[str]:
        """Which routes it opens."""
        return list(json.loads(self.scopes_json))

    def state_at(self, now: datetime) -> str:
        """Return ``live``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        is_over = self.expires_at is not None and self.expires_at <= now
        return "expired" if is_over else "live"
