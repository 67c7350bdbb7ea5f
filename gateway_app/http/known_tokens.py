"""The API tokens that are let through, as one picture in memory: no request asks the database."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db.models import Q

from gateway_app.models import ApiToken
from messaging.envelope import utc_now


@dataclass(frozen=True, slots=True)
class KnownToken:
    """What has to be known of a token to check it."""

    pk: int
    #: Who has it; the next token of the same caller has the same name.
    name: str
    #: As `tokens.hash_of` returns it.
    secret_hash: str
    scopes: tuple[str, ...]
    #: None: never.
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class KnownTokens:
    """All tokens that were live when they were read. Never changes."""

    #: `RegistryStatus.tokens_revision` at which they were read.
    revision: int = 0
    by_id: Mapping[str, KnownToken] = field(default_factory=dict)


#: Before the first token is made.
NO_TOKENS: Final = KnownTokens()


def read_tokens(revision: int) -> KnownTokens:
    """Return the tokens that are live now.

    Args:
        revision: read before: what changes meanwhile is read now or the next time.

    Raises:
        DatabaseError: it does not answer.
    """
    not_expired = Q(expires_at=None) | Q(expires_at__gt=utc_now())
    live = ApiToken.objects.filter(not_expired, revoked_at=None)
    known = {
        token.public_id: KnownToken(
            token.pk, token.name, token.secret_hash, tuple(token.scopes), token.expires_at
        )
        for token in live
    }
    return KnownTokens(revision, known)
