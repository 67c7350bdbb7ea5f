"""Logins, as many as a person needs: guessing a password takes ten tries, and then a pause."""

import hashlib
import logging
from typing import Any, Final

from django.contrib.auth.backends import ModelBackend
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

logger = logging.getLogger(__name__)

#: Failures of one name from one address...
MOST_FAILURES: Final = 10
#: ...and none is let in for so long after the last.
PAUSE_SECONDS: Final = 300


class LimitedLogin(ModelBackend):
    """Django's users and passwords, with a limit to failures.

    Counted in the memory of each web process, by name and address: nobody can keep others from
    logging in from elsewhere. The address is the proxy's where uvicorn does not trust it
    (FORWARDED_ALLOW_IPS).
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the user; None where name or password is wrong.

        Raises:
            PermissionDenied: too many were wrong; the right password is refused as well. Safe to
                try again after `PAUSE_SECONDS`.
        """
        if request is None or username is None:  # a program, not a form
            return super().authenticate(request, username, password, **kwargs)
        address = request.META.get("REMOTE_ADDR", "")
        key = hashlib.sha256(f"login failures {username} {address}".encode()).hexdigest()
        failures = cache.get(key, 0)
        if failures >= MOST_FAILURES:
            logger.warning("login of %.200r from %s refused: too many failures", username, address)
            raise PermissionDenied
        user = super().authenticate(request, username, password, **kwargs)
        if user is not None:
            cache.delete(key)
        else:
            cache.set(key, failures + 1, PAUSE_SECONDS)
        return user
