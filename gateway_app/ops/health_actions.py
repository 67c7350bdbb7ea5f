"""What operators do on the Health page: maintenance, its end, and a check out of turn."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final

from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from gateway_app.bus import communicator
from gateway_app.health.asking import TooSoon, ask_for_round
from gateway_app.models import Service, ServiceInstance
from gateway_app.ops.rights import Right, requires
from gateway_app.registry.maintenance import end_maintenance, set_maintenance
from gateway_app.registry.wording import instant_text
from messaging import MessagingError
from messaging.envelope import utc_now

_LENGTHS: Final = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
}
_UNTIL: Final = "until"
REASON_CHARACTERS: Final = 200


@requires(Right.OPERATE)
@require_POST
def begin(request: HttpRequest) -> HttpResponse:
    """Put a service or an instance into maintenance; 400 without an end or a reason."""
    now = utc_now()
    try:
        target = _target(request)
        until = _end(request, now)
        set_maintenance(
            target,
            until,
            actor=request.user.get_username(),
            now=now,
            reason=_reason(request),
        )
    except (ValueError, ObjectDoesNotExist) as exc:
        return _refused(request, exc)
    messages.success(request, f"{target} is in maintenance until {instant_text(until, now)}.")
    return _back(request)


@requires(Right.OPERATE)
@require_POST
def end(request: HttpRequest) -> HttpResponse:
    """End the maintenance of a service or an instance."""
    try:
        target = _target(request)
        end_maintenance(target, actor=request.user.get_username(), now=utc_now())
    except (ValueError, ObjectDoesNotExist) as exc:
        return _refused(request, exc)
    messages.success(request, f"{target} is in no maintenance any more.")
    return _back(request)


@requires(Right.OPERATE)
@require_POST
def check(request: HttpRequest) -> HttpResponse:
    """Have a health round begin at once."""
    try:
        ask_for_round(communicator, actor=request.user.get_username(), now=utc_now())
    except (TooSoon, MessagingError) as exc:
        messages.warning(request, f"Not checked: {exc}")
    else:
        messages.success(request, "A health round has begun: what it finds shows here.")
    return _back(request)


def _target(request: HttpRequest) -> Service | ServiceInstance:
    kind, _, name = request.POST.get("target", "").partition(":")
    if kind == "service":
        return Service.objects.get(name=name)
    if kind == "instance":
        return ServiceInstance.objects.select_related("service").get(instance_id=name)
    raise ValueError("choose a service or an instance")


def _end(request: HttpRequest, now: datetime) -> datetime:
    length = request.POST.get("length", "")
    if length in _LENGTHS:
        return now + _LENGTHS[length]
    text = request.POST.get("until", "")
    if length != _UNTIL or not text:
        raise ValueError("maintenance needs an end: say how long it takes at most")
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ValueError("the end must be an instant such as 2026-01-31T14:05") from exc
    return instant.replace(tzinfo=instant.tzinfo or UTC)


def _reason(request: HttpRequest) -> str:
    reason = " ".join(request.POST.get("reason", "").split())
    if not reason:
        raise ValueError("maintenance needs a reason: whoever is on duty will ask for it")
    return reason[:REASON_CHARACTERS]


def _back(request: HttpRequest) -> HttpResponseRedirect:
    query = request.POST.get("back", "")
    address = reverse("ops:health") + (query if query.startswith("?") else "")
    return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)


def _refused(request: HttpRequest, exc: Exception) -> HttpResponse:
    is_gone = isinstance(exc, ObjectDoesNotExist)
    reason = "It is not in the registry any more." if is_gone else f"{exc}."
    context = {"reason": reason, "back": reverse("ops:health")}
    return render(request, "ops/refused.html", context, status=HTTPStatus.BAD_REQUEST)
