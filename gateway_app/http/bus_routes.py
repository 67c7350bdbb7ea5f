"""An HTTP request becomes a request on the bus, its answer the response."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from gateway_app import bus
from gateway_app.http.bodies import read_object
from gateway_app.http.matching import Match
from gateway_app.http.problem import problem_from
from gateway_app.http.routing import ServiceEntry
from gateway_app.http.waiting import while_present
from messaging import MessagePriority, MessagingError
from messaging.context import tracing

#: Made once: `json.dumps` makes an encoder for each call that wants anything special.
_to_json: Final[Callable[[Any], str]] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


async def read_data(request: Request, match: Match, entry: ServiceEntry) -> dict[str, Any]:
    """Return the data of the message that a request becomes: its body, query and path.

    The path counts more than the query, the query more than the body. Where the service published
    a schema, values from path and query are read as that says.

    Raises:
        Problem: 400, 413, 415, or 422 where the service's schema says so.
        ClientDisconnect: the client went away.
    """
    config = bus.communicator.bus.config
    limit = min(match.target.max_body_bytes or config.max_message_bytes, config.max_message_bytes)
    texts = {**_query(request), **match.parameters}
    schema = entry.schemas.get(match.target.message)
    body = await read_object(request, limit, config.http_timeout_seconds)
    if schema is None:
        return {**body, **texts}
    data = {**body, **schema.typed(texts)}
    schema.check(data)
    return data


async def ask(request: Request, match: Match, data: Mapping[str, Any], trace: str) -> Response:
    """Ask the service and return its answer as JSON.

    Raises:
        Problem: the service refused it, did not answer in time, or the broker is away.
        ClientDisconnect: the client went away; the service may answer nobody then.
    """
    target = match.target
    config = bus.communicator.bus.config
    seconds = target.timeout_seconds or config.request_timeout_seconds
    asking = bus.communicator.request_async(
        target.service,
        target.message,
        data,
        timeout=seconds,
        priority=target.priority or MessagePriority.HIGH,
    )
    try:
        async with while_present(request):
            with tracing(trace):
                answer = await asking
    except MessagingError as exc:
        raise problem_from(exc) from exc
    return Response(_to_json(answer), media_type="application/json")


def _query(request: Request) -> dict[str, Any]:
    """Return the query's values as text; a name given several times has a list of them."""
    if not request.scope["query_string"]:
        return {}
    values: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name not in values:
            values[name] = value
        elif isinstance(values[name], list):
            values[name].append(value)
        else:
            values[name] = [values[name], value]
    return values
