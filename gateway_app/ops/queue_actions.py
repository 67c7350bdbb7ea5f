"""What operators do on the Queues page: pause or drain a service, and resume it."""

from collections.abc import Callable
from http import HTTPStatus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from gateway_app import pausing
from gateway_app.bus import communicator
from gateway_app.ops.rights import Right, requires
from messaging.envelope import utc_now

_DRAINED = "drained"


@requires(Right.OPERATE)
@require_POST
def pause_queue(request: HttpRequest) -> HttpResponse:
    """Have a service take no messages, now or once its queue is empty; 400 without a reason."""
    name = request.POST.get("service", "")
    is_drained = request.POST.get("when", "") == _DRAINED

    def act() -> bool:
        return pausing.pause(
            communicator,
            name,
            actor=request.user.get_username(),
            reason=request.POST.get("reason", ""),
            now=utc_now(),
            is_drained=is_drained,
        )

    said = "drains, and is paused once nothing waits for it" if is_drained else "is paused"
    return _answer(request, act, f"{name} {said}.")


@requires(Right.OPERATE)
@require_POST
def resume_queue(request: HttpRequest) -> HttpResponse:
    """Have a service take messages again."""
    name = request.POST.get("service", "")

    def act() -> bool:
        actor = request.user.get_username()
        return pausing.resume(communicator, name, actor=actor, now=utc_now())

    return _answer(request, act, f"{name} takes messages again.")


def _answer(request: HttpRequest, act: Callable[[], bool], said: str) -> HttpResponse:
    query = request.POST.get("back", "")
    back = reverse("ops:queues") + (query if query.startswith("?") else "")
    try:
        is_told = act()
    except pausing.NotPausable as exc:
        context = {"reason": f"{exc}.", "back": back}
        return render(request, "ops/refused.html", context, status=HTTPStatus.BAD_REQUEST)
    if is_told:
        messages.success(request, said)
    else:
        messages.warning(request, f"{said} The broker does not answer: workers learn of it later.")
    return HttpResponseRedirect(back, status=HTTPStatus.SEE_OTHER)
