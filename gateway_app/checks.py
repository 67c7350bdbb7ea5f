"""What `manage.py check` says about the gateway's settings."""

from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

#: What settings.py falls back to on a laptop; public, so worth nothing anywhere else.
INSECURE_KEY: Final = "insecure-development-key"


@register(Tags.security)
def check_secret_key(**_: Any) -> list[CheckMessage]:
    """Refuse to run in production with a secret that everybody knows (gateway_app.E001)."""
    if settings.DEBUG or _secret_key() not in ("", INSECURE_KEY):
        return []
    return [
        Error(
            "DJANGO_DEBUG is off and DJANGO_SECRET_KEY is empty or the development key.",
            hint="Set DJANGO_SECRET_KEY to a long random text, the same for every process.",
            id="gateway_app.E001",
        )
    ]


def _secret_key() -> str:
    try:
        return str(settings.SECRET_KEY)
    except ImproperlyConfigured:
        return ""  # Django refuses to read an empty one
