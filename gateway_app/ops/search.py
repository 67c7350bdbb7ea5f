"""Where the search box leads: a message by its id, a service by its name, else a type."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from gateway_app.message_status import status_of
from gateway_app.models import Service
from gateway_app.ops.rights import Right, requires


@requires(Right.VIEW)
def search(request: HttpRequest) -> HttpResponse:
    """Send the browser to what was meant."""
    wanted = request.GET.get("q", "").strip()
    if not wanted:
        return redirect("ops:overview")
    if Service.objects.filter(name=wanted).exists():
        return redirect(f"{reverse('ops:health')}?{urlencode({'service': wanted})}")
    if status_of(wanted) is not None:
        return redirect("ops:message", message_id=wanted)
    return redirect(f"{reverse('ops:messages')}?{urlencode({'q': wanted})}")
