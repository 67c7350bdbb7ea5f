"""``/api/…``: an HTTP request becomes a request on the bus, its answer the response."""

import json
import logging
from http import HTTPStatus
from typing import Any, Final, NoReturn

from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from gateway_app import bus
from gateway_app.http.matching import Match, NoSuchMethod, NoSuchPath
from gateway_app.http.problem import Problem, problem_from
from gateway_app.http.route_cache import RouteCache
from messaging import MessagingError

logger = logging.getLogger(__name__)

ROUTES: Final = RouteCache()


@csrf_exempt  # clients are programs without a session; nothing here looks at cookies
async def bus_route(request: HttpRequest) -> HttpResponse:
    """Answer with what the service answers that registered the route; else with problem JSON."""
    try:
        match = await _match(request)
        data = {**_body(request), **_query(request), **match.parameters}
        answer = await bus.communicator.request_async(
            match.target.service, match.target.message, data
        )
    except Problem as problem:
        return problem.response()
    except MessagingError as exc:
        return problem_from(exc).response()
    except Exception:
        logger.exception("%s %s", request.method, request.path)
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "see the gateway's log").response()
    return JsonResponse(answer, safe=False)


async def _match(request: HttpRequest) -> Match:
    """Return the route of a request.

    Raises:
        Problem: there is none, it is not one of the bus, or nobody is there to answer.
    """
    try:
        routing = await ROUTES.routing()
        match = routing.tree.match(request.method or "", request.path)
    except DatabaseError as exc:
        logger.warning("routes could not be loaded: %s", exc)
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "the registry's database does not answer"
        ) from exc
    except NoSuchPath as exc:
        raise Problem(HTTPStatus.NOT_FOUND, f"no service has a route {request.path}") from exc
    except NoSuchMethod as exc:
        raise Problem(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"{request.path} takes {', '.join(exc.allowed)}",
            headers={"Allow": ", ".join(exc.allowed)},
        ) from exc
    target = match.target
    if not target.message:
        raise Problem(
            HTTPStatus.NOT_IMPLEMENTED,
            f"{target.service} registered this route without a message; "
            "such routes are to be proxied, which the gateway cannot do yet",
        )
    if target.service not in routing.serving:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, f"no instance of {target.service} is running"
        )
    return match


def _query(request: HttpRequest) -> dict[str, Any]:
    """Return the query's values as text; a name given several times has a list of them."""
    return {
        name: values[0] if len(values) == 1 else values for name, values in request.GET.lists()
    }


def _body(request: HttpRequest) -> dict[str, Any]:
    """Return the object in the body; empty where there is no body.

    Raises:
        Problem: too large, not JSON, or no object.
    """
    body = _read(request)
    if not body:
        return {}
    if not _is_json(request.content_type or ""):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the body must be application/json, not {request.content_type or 'untyped'}",
            headers={"Accept": "application/json"},
        )
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
    return value


def _read(request: HttpRequest) -> bytes:
    limit = bus.communicator.bus.config.max_message_bytes
    too_large = Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit} bytes"
    )
    try:
        body = request.body
    except RequestDataTooBig as exc:
        raise too_large from exc
    except UnreadablePostError as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, "the body ended too soon") from exc
    if len(body) > limit:
        raise too_large
    return body


def _is_json(content_type: str) -> bool:
    return content_type == "application/json" or content_type.endswith("+json")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
