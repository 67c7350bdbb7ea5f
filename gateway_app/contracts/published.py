"""``/ops/contracts.json`` and ``/ops/asyncapi.json``: what runs, for programs.

For who is logged in and may see the operator pages, and for callers with an API token that names
the path as a scope: what services say among themselves is nobody else's business.
"""

import hashlib
import hmac
import json
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, Final

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from gateway_app import tokens
from gateway_app.bus import communicator
from gateway_app.contracts import asyncapi
from gateway_app.contracts.running import running_contracts
from gateway_app.http import metrics
from gateway_app.models import ApiToken
from gateway_app.ops.rights import Right, rights_of, under_policy
from messaging.envelope import utc_now

View = Callable[[HttpRequest], HttpResponse]
#: What an unknown token is compared with, so that it takes as long as a known one.
_NO_HASH: Final = tokens.hash_of("")


def for_programs(view: View) -> View:
    """Make a view answer who may see the operator pages, or has a token for its path."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if Right.VIEW not in rights_of(request.user):
            refusal = _refusal(request)
            if refusal is not None:
                return under_policy(refusal)
        try:
            return under_policy(view(request))
        except DatabaseError as exc:
            detail = f"the registry's database does not answer: {exc}"
            return JsonResponse({"detail": detail}, status=HTTPStatus.SERVICE_UNAVAILABLE)

    return guarded


@require_safe
@for_programs
def contracts_document(_request: HttpRequest) -> HttpResponse:
    """Answer with the contract of every version that runs."""
    return JsonResponse({"contracts": [each.to_json() for each in running_contracts()]})


@require_safe
@for_programs
def asyncapi_document(_request: HttpRequest) -> HttpResponse:
    """Answer with the AsyncAPI document of what runs."""
    contracts = running_contracts()
    text = json.dumps([each.to_json() for each in contracts], sort_keys=True)
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    return JsonResponse(asyncapi.document(contracts, communicator.bus.topology, version))


def _refusal(request: HttpRequest) -> HttpResponse | None:
    """Return why a request without a login is refused; None: its token opens the path."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    parsed = tokens.parse(text.strip()) if scheme.lower() == "bearer" else None
    token = _live(*parsed) if parsed is not None else None
    if token is None:
        metrics.count_unauthorized(request.META.get("REMOTE_ADDR", ""))
        refused: dict[str, Any] = {
            "detail": "this needs a login, or a valid API token: Authorization: Bearer …"
        }
        answer = JsonResponse(refused, status=HTTPStatus.UNAUTHORIZED)
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    if not tokens.covers(token.scopes, request.path):
        detail = f"this API token does not open this: it lacks the scope {request.path}"
        return JsonResponse({"detail": detail}, status=HTTPStatus.FORBIDDEN)
    ApiToken.objects.filter(pk=token.pk).update(last_used_at=utc_now())
    return None


def _live(public_id: str, secret: str) -> ApiToken | None:
    token = ApiToken.objects.filter(public_id=public_id).first()
    expected = token.secret_hash if token is not None else _NO_HASH
    is_right = hmac.compare_digest(tokens.hash_of(secret), expected)
    if token is None or not is_right or token.state_at(utc_now()) != "live":
        return None
    return token
