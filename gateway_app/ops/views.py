"""What Django answers under ``/ops/``."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import mark_safe
from django.views.decorators.gzip import gzip_page

from gateway_app.ops import stream
from gateway_app.ops.page import Page
from gateway_app.ops.pages import BY_NAME, for_viewer, shown
from gateway_app.ops.question import BadQuestion, NotThere, Question, question
from gateway_app.ops.rights import Right, requires, rights_of, under_policy
from messaging.envelope import utc_now

#: Asks a page for its regions alone, as the stream sends them.
ONLY_REGIONS = "regions"


@gzip_page
@requires(Right.VIEW)
def page(request: HttpRequest, name: str, **arguments: str) -> HttpResponse:
    """Show a page, or its regions alone where the browser cannot follow a stream."""
    shown_page = BY_NAME[name]
    try:
        asked = _asked(request, shown_page, arguments)
        parts = list(shown(shown_page, asked))
    except BadQuestion as exc:
        return render(request, "ops/bad_question.html", {"reason": str(exc)}, status=400)
    except NotThere as exc:
        return render(request, "ops/not_there.html", {"reason": str(exc)}, status=404)
    token = get_token(request)
    if ONLY_REGIONS in request.GET:
        return HttpResponse(for_viewer(stream.partials(parts), token))
    regions = {part.region: mark_safe(for_viewer(part.html, token)) for part in parts}  # nosec B308
    return render(
        request,
        f"ops/{name}/page.html",
        {
            "page": shown_page,
            "regions": regions,
            "asked": asked,
            "now": asked.now,
            "range": asked.range(shown_page.ranges) if shown_page.ranges else "",
            "is_streamed": isinstance(request, ASGIRequest),
            "live_url": _with(reverse(f"ops:{name}-live", kwargs=arguments), asked),
            "regions_url": _with(request.path, asked, **{ONLY_REGIONS: "1"}),
            "debug_mode": settings.DEBUG,
        },
    )


async def follow(request: HttpRequest, name: str, **arguments: str) -> HttpResponseBase:
    """Stream what changes on a page, until the browser goes away."""
    shown_page = BY_NAME.get(name)
    if shown_page is None:
        raise Http404
    user = await request.auser()
    rights = await sync_to_async(rights_of)(user)
    if Right.VIEW not in rights:
        # A redirect would have the login page swapped in.
        return HttpResponse("log in first\n", status=HTTPStatus.UNAUTHORIZED)
    try:
        asked = _asked(request, shown_page, arguments, rights=rights)
    except BadQuestion as exc:
        return HttpResponse(str(exc), status=HTTPStatus.BAD_REQUEST)
    key = stream.Key(
        shown_page,
        tuple(sorted(asked.parameters.items())),
        tuple(sorted(asked.arguments.items())),
        rights,
    )
    return under_policy(
        StreamingHttpResponse(
            _encoded(stream.events(key, get_token(request))), content_type="text/event-stream"
        )
    )


def _with(path: str, asked: Question, **more: str) -> str:
    return path + asked.address(**more)


async def _encoded(events: AsyncGenerator[str]) -> AsyncIterator[bytes]:
    async with aclosing(events):
        async for event in events:
            yield event.encode()


def _asked(request: HttpRequest, shown_page: Page, arguments: Any, **known: Any) -> Question:
    parameters = {key: str(value) for key, value in request.GET.items() if key != ONLY_REGIONS}
    rights = known.get("rights")
    if rights is None:
        rights = rights_of(request.user)
    asked = question(parameters, rights, utc_now(), arguments)
    if shown_page.ranges:
        asked.range(shown_page.ranges)
    return asked
