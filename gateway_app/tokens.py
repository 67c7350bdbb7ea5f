"""API tokens made, found and taken back, and which routes one opens.

Text of a token: ``mbus_<id>_<secret>``. The prefix is for programs that look for secrets in files
and logs; the id is no secret. What is kept of the secret is its SHA-256.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import F

from gateway_app import audit
from gateway_app.models import ApiToken
from gateway_app.registry import registry_status
from messaging.apps import configured
from messaging.text import storable

#: 12 and 64 hex digits: 48 bits to be found by, 256 that nobody guesses.
_TEXT: Final = re.compile(r"mbus_([0-9a-f]{12})_([0-9a-f]{64})")
#: Segments as routes have them below ``/api/``; the last one may be a star.
_SCOPE: Final = re.compile(r"/api(/[^\s/*?#%]+)*/(\*|[^\s/*?#%]+)")
#: What the gateway itself publishes for programs; no scope of routes covers it.
DOCUMENTS: Final = ("/ops/contracts.json", "/ops/asyncapi.json")
MAX_NAME: Final = 100
MAX_SCOPES: Final = 50


def create(
    name: str,
    scopes: Iterable[str],
    *,
    expires_at: datetime | None,
    actor: str,
    now: datetime,
) -> tuple[ApiToken, str]:
    """Make a token; it works within `RoutingCache`'s `STALE_SECONDS`, in every process.

    Args:
        name: who has it and what for.
        scopes: which routes it opens; see `covers`.
        expires_at: None: never.
        actor: who makes it, for the audit record.
        now: the present.

    Returns:
        The token, and its text, which nobody can find out again.

    Raises:
        ValueError: it would have no name, open nothing or have expired already.
    """
    name = storable(name.strip())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"name: expected 1 to {MAX_NAME} printable characters, got {name!r:.150}")
    if expires_at is not None and expires_at <= now:
        raise ValueError("the token would have expired already")
    secret = secrets.token_hex(32)
    with transaction.atomic():
        token = ApiToken.objects.create(
            name=name,
            public_id=secrets.token_hex(6),
            secret_hash=hash_of(secret),
            scopes_json=json.dumps(checked_scopes(scopes)),
            created_by=actor,
            created_at=now,
            expires_at=expires_at,
        )
        _record("token", token, actor, now)
    return token, f"mbus_{token.public_id}_{secret}"


def revoke(token: ApiToken, *, actor: str, now: datetime) -> bool:
    """Take a token back, for ever. Safe to repeat.

    Every process that reads the database lets it through for `STALE_SECONDS` at most; see
    `http.authentication` for one that cannot.

    Returns:
        Whether it was not revoked before.
    """
    with transaction.atomic():
        live = ApiToken.objects.filter(pk=token.pk, revoked_at=None)
        if not live.update(revoked_at=now):
            return False
        _record("revoke", token, actor, now)
    return True


def find(public_id: str) -> ApiToken:
    """Return the token of that id.

    Raises:
        ValueError: there is none.
    """
    token = ApiToken.objects.filter(public_id=public_id).first()
    if token is None:
        raise ValueError(f"no token has the id {public_id!r:.100}")
    return token


def parse(text: str) -> tuple[str, str] | None:
    """Return id and secret of a token's text; None: it is none, to the last character."""
    found = _TEXT.fullmatch(text)
    return (found[1], found[2]) if found else None


def hash_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def covers(scopes: Iterable[str], path: str) -> bool:
    """Return whether one of the scopes covers a route.

    A scope is the path of a route, letter by letter as its service registered it
    (``/api/users/{id}``), or ends in ``/*`` and covers every route whose path begins with what is
    before the star (``/api/users/*``; ``/api/*`` is every route). It is held against the route's
    path, not the request's: no way of writing a request makes it another route. A document of the
    gateway's own is covered by its path alone.

    Args:
        scopes: of a token.
        path: of the route.
    """
    return any(
        path.startswith(scope[:-1]) if scope.endswith("/*") else path == scope for scope in scopes
    )


def checked_scopes(scopes: Iterable[str]) -> list[str]:
    """Return scopes sorted, each once.

    Raises:
        ValueError: there are none, too many, or one is no scope.
    """
    found = sorted({scope.strip() for scope in scopes})
    if not 0 < len(found) <= MAX_SCOPES:
        raise ValueError(f"scopes: expected 1 to {MAX_SCOPES}, got {len(found)}")
    for scope in found:
        is_route = _SCOPE.fullmatch(scope) and scope.isprintable()
        if not is_route and scope not in DOCUMENTS:
            raise ValueError(
                f"scope: expected /api/* or a path such as /api/users/*, or one of "
                f"{', '.join(DOCUMENTS)}, got {scope!r:.100}"
            )
    return found


def _record(action: str, token: ApiToken, actor: str, now: datetime) -> None:
    detail = f"{token} for {', '.join(token.scopes)}"
    audit.record(action, actor=actor, service=configured().gateway_name, detail=detail, at=now)
    registry_status.load()
    registry_status.row().update(tokens_revision=F("tokens_revision") + 1)
