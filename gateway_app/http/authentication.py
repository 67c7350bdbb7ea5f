"""Who may call: requests with an API token, or without one where a route is open to anybody.

Checked against a picture of the live tokens (`known_tokens`), which is read with the routing once
it is a second old: a request costs no query. So a token that is revoked works for
`routing.STALE_SECONDS` at most, and for `TRUSTED_SECONDS` in a process that cannot read the
database. That one expires is seen at once.
"""

import hmac
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Final

from django.conf import settings
from starlette.requests import Request

from gateway_app import tokens
from gateway_app.http import metrics
from gateway_app.http.known_tokens import KnownToken, KnownTokens
from gateway_app.http.matching import Target
from gateway_app.http.problem import Problem
from messaging import MessagingConfig
from messaging.envelope import utc_now

#: A database that is away must not stop the bus at once, and a process that is cut off from it
#: must not let callers through for ever.
TRUSTED_SECONDS: Final = 300.0
_HEADER: Final = b"authorization"
#: What an unknown token is compared with, so that it takes as long as a known one.
_NO_HASH: Final = tokens.hash_of("")


def is_token_needed(config: MessagingConfig, auth: str | None) -> bool:
    """Return whether callers of a route need a token.

    Args:
        config: has the default, `MessagingConfig.http_auth`.
        auth: what the route says: ``token``, ``none``, or None for the default.
    """
    automatic = "none" if settings.IS_DEVELOPMENT else "token"
    return (auth or config.http_auth or automatic) == "token"


class Authentication:
    """Lets requests through, or says why not.

    Args:
        config: has the default of routes.
        now: the present, for tests to move.
    """

    def __init__(self, config: MessagingConfig, now: Callable[[], datetime] = utc_now) -> None:
        self._is_needed = {auth: is_token_needed(config, auth) for auth in (None, "token", "none")}
        self._now = now

    def check(
        self, request: Request, target: Target, known: KnownTokens, age_seconds: float
    ) -> KnownToken | None:
        """Let a request through; the token it came with is none of its headers any more.

        Args:
            request: its token ends here: neither instances nor logs get it.
            target: the route.
            known: the tokens.
            age_seconds: how old that knowledge is.

        Returns:
            The token; None: the route needs none, and the request is as it came.

        Raises:
            Problem: 401 without a token that is known and live, whatever is wrong with it; 403
                where its scopes do not cover the route; 503 where nobody can tell any more.
        """
        if not self._is_needed[target.auth]:
            return None
        if age_seconds > TRUSTED_SECONDS:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "tokens cannot be checked: the registry's database does not answer",
            )
        token = self._found(_taken_from(request), known)
        if token is None:
            metrics.count_unauthorized(request.client.host if request.client else "")
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "this needs a valid API token: Authorization: Bearer …",
                headers={"WWW-Authenticate": "Bearer"},
            )
        # What is the gateway's own, such as the state of a message, any token opens.
        if target.service and not tokens.covers(token.scopes, target.path):
            raise Problem(HTTPStatus.FORBIDDEN, "this API token does not open this route")
        return token

    def _found(self, values: list[bytes], known: KnownTokens) -> KnownToken | None:
        """Return the live token that the values of the header are; of several none counts."""
        scheme, _, credentials = (values[0] if len(values) == 1 else b"").partition(b" ")
        parsed = tokens.parse(credentials.decode("latin-1"))
        if scheme.lower() != b"bearer" or parsed is None:
            return None
        public_id, secret = parsed
        token = known.by_id.get(public_id)
        expected = token.secret_hash if token else _NO_HASH
        is_right = hmac.compare_digest(tokens.hash_of(secret), expected)
        if token is None or not is_right:
            return None
        is_over = token.expires_at is not None and token.expires_at <= self._now()
        return None if is_over else token


def _taken_from(request: Request) -> list[bytes]:
    """Take the header out of a request, and return its values."""
    headers: list[tuple[bytes, bytes]] = request.scope["headers"]
    values = [value.strip(b" \t") for name, value in headers if name == _HEADER]
    if values:
        # In place: whoever has looked at the headers before holds this list.
        headers[:] = [pair for pair in headers if pair[0] != _HEADER]
    return values
