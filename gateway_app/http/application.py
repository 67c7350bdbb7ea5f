"""The gateway's HTTP server as one ASGI application.

``/api/…`` and ``/bus/…`` are answered here: bodies are streamed both ways, which Django's views
cannot do, and without the work that pages for people need. Everything else is Django's.
"""

import asyncio
import gc
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from django.db import DatabaseError
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_app import bus
from gateway_app.http import admission, bus_routes, durable, openapi
from gateway_app.http.authentication import Authentication, is_token_needed
from gateway_app.http.database import in_database
from gateway_app.http.limits import Limits
from gateway_app.http.matching import Match, NoSuchMethod, NoSuchPath, RouteTree, Target
from gateway_app.http.observing import Observed, observed
from gateway_app.http.paths import has_hidden_separator, segments_of
from gateway_app.http.problem import Problem
from gateway_app.http.proxy import AnswerBroke, Proxy
from gateway_app.http.routing import Routing, RoutingCache, ServiceEntry
from gateway_app.http.token_use import TokenUse
from gateway_app.http.tracing import served
from gateway_app.message_status import status_of
from messaging import MessagingConfig, MessagingError

logger = logging.getLogger(__name__)

#: Paths that are answered here.
PREFIXES: Final = ("/api", "/bus")
_OPENAPI: Final = Target("GET", openapi.PATH, "", "")
_STATUS: Final = Target("GET", f"{durable.STATUS_PREFIX}{{id}}", "", "")
_OPENAPI_SEGMENTS: Final = segments_of(openapi.PATH.encode())
_OWN_PREFIX: Final = "bus"
#: The gateway's own routes; services cannot have them.
_OWN: Final = RouteTree([_OPENAPI, _STATUS])
#: Headers of ours that pages of other origins may read.
_EXPOSED: Final = (
    *("Location", "Preference-Applied", "Retry-After", "Allow", "WWW-Authenticate"),
)


class Gateway:
    """Answers requests to services: over the bus, as durable messages, or by their own servers.

    An ASGI application. One per process; used on its event loop.

    Args:
        config: the settings.
        routing: what requests are routed by.
    """

    def __init__(self, config: MessagingConfig, routing: RoutingCache) -> None:
        self._routing = routing
        self._limits = Limits(config)
        self._authentication = Authentication(config)
        self._token_use = TokenUse()
        self._is_token_default = is_token_needed(config, None)
        self._proxy = Proxy(config)
        self._revision = -1
        #: Revision of the routing that it describes, and the document.
        self._openapi: tuple[int, asyncio.Future[bytes]] | None = None

    async def close(self) -> None:
        """Close the connections to instances and to the broker."""
        await self._proxy.close()
        await self._routing.close()
        await self._token_use.close()
        await in_database(bus.communicator.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, an error as problem JSON."""
        request = Request(scope, receive)
        with observed(send) as seen:
            try:
                response = await self._answer(request, seen)
            except Problem as problem:
                response = problem.response()
            except (ClientDisconnect, AnswerBroke) as exc:
                # Nobody is there, or what has been sent cannot be taken back: the server closes
                # the connection when nothing comes to an end.
                seen.broke(exc)
                return
            except asyncio.CancelledError:
                # The server is stopping, and has waited for as long as it may.
                if seen.has_begun:
                    raise
                response = Problem(
                    HTTPStatus.GATEWAY_TIMEOUT,
                    "the gateway is stopping; whether the request was handled is unknown",
                    headers={"Connection": "close"},
                ).response()
            except Exception:
                logger.exception("%s %s", request.method, request.url.path)
                if seen.has_begun:
                    return
                detail = "see the gateway's log"
                response = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail).response()
            if response is not None:
                await response(scope, receive, seen.send)

    async def _answer(self, request: Request, seen: Observed) -> Response | None:
        """Return the response; None: it has been sent."""
        admission.check_request(request)
        segments = segments_of(bytes(request.scope["raw_path"]).partition(b"?")[0])
        routing = await self._current()
        try:
            match = _find(request.method, segments, routing)
        except NoSuchPath as exc:
            raise Problem(HTTPStatus.NOT_FOUND, f"no service has a route {exc!s:.500}") from exc
        except NoSuchMethod as exc:
            return _other_method(request.method, exc.allowed)
        seen.target = match.target
        client = request.client.host if request.client else ""
        with self._limits.admitted(client, match.target):
            # Inside the limits: who guesses is held up by them.
            self._authenticate(request, match.target, routing)
            if match.target is _OPENAPI:
                return await self._document(routing)
            if match.target is _STATUS:
                return await _message_status(match.parameters["id"])
            if not match.target.message and has_hidden_separator(segments):
                # To a server that decodes before it splits it would be another path.
                raise Problem(
                    HTTPStatus.BAD_REQUEST, "the path is refused: it has encoded slashes"
                )
            entry = routing.by_name[match.target.service]
            with served(request, match.target) as trace:
                return await self._pass_on(request, match, entry, seen.send, trace)

    def _authenticate(self, request: Request, target: Target, routing: Routing) -> None:
        age = self._routing.age_seconds
        token = self._authentication.check(request, target, routing.tokens, age)
        request.state.caller = token.name if token else ""
        if token is not None:
            self._token_use.note(token.pk)

    async def _document(self, routing: Routing) -> Response:
        if self._openapi is None or self._openapi[0] != routing.revision:
            # With thousands of routes it takes seconds: not on the event loop, and once for all
            # who ask meanwhile.
            describe = asyncio.to_thread(
                openapi.document_bytes, routing, is_token_default=self._is_token_default
            )
            writing = asyncio.ensure_future(describe)
            self._openapi = routing.revision, writing
        _, document = self._openapi
        return Response(await asyncio.shield(document), media_type="application/json")

    async def _pass_on(
        self, request: Request, match: Match, entry: ServiceEntry, send: Send, trace: str
    ) -> Response | None:
        if not match.target.message:
            admission.check_serves(entry)
            await self._proxy.forward(request, match.target, entry, send)
            return None
        is_durable = durable.is_wanted(request)
        if not is_durable:
            durable.refuse_key(request)
            admission.check_serves(entry)
        data = await bus_routes.read_data(request, match, entry)
        answer = durable.accept if is_durable else bus_routes.ask
        return await answer(request, match, data, trace)

    async def _current(self) -> Routing:
        try:
            routing = await self._routing.current()
        except DatabaseError as exc:
            logger.warning("routes could not be loaded: %s", exc)
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "the registry's database does not answer"
            ) from exc
        if routing.revision != self._revision:
            self._revision = routing.revision
            self._proxy.upstreams.forget_others(routing.instance_ids)
        return routing


class GatewayServer:
    """The whole server: the gateway, Django, and their start and end. An ASGI application.

    Args:
        django: answers what the gateway does not.
    """

    def __init__(self, django: ASGIApp) -> None:
        self._django = django
        self._gateway: Gateway | None = None
        self._services: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and _is_ours(scope["path"]):
            await self._open()(scope, receive, send)
        else:
            await self._django(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    self._open()
                except MessagingError as exc:  # a setting is wrong: the server must not start
                    await send({"type": "lifespan.startup.failed", "message": str(exc)})
                    return
                # What has been loaded lives as long as the process: not to be looked through
                # for garbage again and again, tens of milliseconds each time.
                gc.collect()
                gc.freeze()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                if self._gateway is not None:
                    await self._gateway.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _open(self) -> ASGIApp:
        if self._services is None:
            config = bus.communicator.bus.config
            self._gateway = Gateway(config, RoutingCache())
            self._services = with_cors(self._gateway, config.cors_origins)
        return self._services


def _is_ours(path: str) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in PREFIXES)


def with_cors(application: ASGIApp, origins: str) -> ASGIApp:
    """Return the application, open to pages of these origins; as it is where there are none."""
    allowed = [origin.strip() for origin in origins.split(",") if origin.strip()]
    if not allowed:
        return application
    return CORSMiddleware(
        application,
        allow_origins=allowed,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=_EXPOSED,
        max_age=600,
    )


def _find(method: str, segments: tuple[str, ...], routing: Routing) -> Match:
    is_own = segments[0] == _OWN_PREFIX or segments == _OPENAPI_SEGMENTS
    return (_OWN if is_own else routing.tree).match(method, segments)


def _other_method(method: str, allowed: Sequence[str]) -> Response:
    """Answer a method that no route of a path has: OPTIONS with what there is, others with 405."""
    if method == "OPTIONS":
        headers = {"Allow": ", ".join([*allowed, "OPTIONS"])}
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
    raise Problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"this path takes {', '.join(allowed)}",
        headers={"Allow": ", ".join(allowed)},
    )


async def _message_status(message_id: str) -> Response:
    try:
        status = await in_database(status_of, message_id)
    except DatabaseError as exc:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer") from exc
    if status is None:
        raise Problem(HTTPStatus.NOT_FOUND, "no message of this id is known")
    return JSONResponse(status)
