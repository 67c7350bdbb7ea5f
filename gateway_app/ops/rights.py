"""Who may see the operator pages, act on them, and see what messages say."""

from collections.abc import Callable
from enum import Enum
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, TypeVar

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse


class Right(Enum):
    """A permission of Django's, to be given to users and groups in the admin."""

    VIEW = "gateway_app.view_bus"
    OPERATE = "gateway_app.operate_bus"
    #: To see payloads unredacted, and to send edited ones.
    PAYLOAD = "gateway_app.edit_payload"


Rights = frozenset[Right]
R = TypeVar("R", bound=HttpResponseBase)
NOBODY: Final[Rights] = frozenset()

#: Scripts, styles and requests of this host only, nothing inline: what messages say can never run.
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)


def rights_of(user: AbstractBaseUser | AnonymousUser) -> Rights:
    """Return what a user may do here. May ask the database."""
    if not user.is_active or isinstance(user, AnonymousUser):
        return NOBODY
    return frozenset(right for right in Right if user.has_perm(right.value))  # type: ignore[attr-defined]


def requires(right: Right) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Make a view answer only those who have a right, under the policy of these pages.

    Who is not logged in is sent to the admin's login and back; who may not gets 403.
    """

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                if request.method != "GET":
                    return HttpResponse("log in first\n", status=HTTPStatus.FORBIDDEN)
                return redirect_to_login(request.get_full_path(), reverse("admin:login"))
            if right not in rights_of(request.user):
                raise PermissionDenied(f"this needs the permission {right.value}")
            return under_policy(view(request, *args, **kwargs))

        return guarded

    return decorate


def under_policy(response: R) -> R:
    """Return the response with the policy of these pages, and not kept by caches."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "same-origin"
    return response
