"""Sending a dead letter's message changed: what was typed stays until it is taken."""

import json

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from gateway_app import editing
from gateway_app.models import DeadLetter
from gateway_app.ops.rights import Right, requires
from messaging import MessagingError
from messaging.envelope import new_message_id


@requires(Right.PAYLOAD)
@requires(Right.OPERATE)
def edit(request: HttpRequest, letter: int) -> HttpResponse:
    """Show what a letter says, to be changed; on POST send it, or say why it was not."""
    row = get_object_or_404(DeadLetter, pk=letter)
    errors: list[str] = []
    text = request.POST.get("data", "")
    key = request.POST.get("key") or new_message_id()
    if request.method == "POST":
        try:
            data = json.loads(text)
            actor = request.user.get_username()
            sent = editing.send_edited(row, data, actor=actor, key=key)
        except (json.JSONDecodeError, RecursionError) as exc:
            errors = [f"This is no JSON: {exc}"]
        except (MessagingError, ValueError) as exc:
            errors = str(exc).splitlines()
        else:
            messages.success(request, f"Sent as {sent}. The original stays as it was.")
            response = HttpResponseRedirect(reverse("ops:message", args=[sent]))
            response.status_code = 303
            return response
    else:
        envelope = row.envelope or {}
        text = json.dumps(envelope.get("data"), indent=2, ensure_ascii=False)
    shown = {
        "letter": row,
        "text": text,
        "errors": errors,
        "key": key,
        "schema": editing.schema_of(row),
    }
    status = 422 if errors else 200
    return render(request, "ops/dead-letters/edit.html", shown, status=status)
