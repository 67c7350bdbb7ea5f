"""API tokens: what is known of them that should be mended."""

from collections.abc import Iterator

from django.conf import settings
from django.db.models import Q

from gateway_app import traps
from gateway_app.doctor.finding import Finding, fine, trapped
from gateway_app.models import ApiToken
from gateway_app.ops import figures
from messaging.envelope import utc_now


def look() -> Iterator[Finding]:
    """Yield whether live tokens expire some day."""
    live = ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=utc_now()))
    live = live.filter(revoked_at=None)
    names = sorted(live.filter(expires_at=None).values_list("name", flat=True))
    if names and not settings.DEBUG:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        yield trapped("API tokens", traps.TOKEN_FOR_EVER, f"{shown}: no end")
    else:
        yield fine("API tokens", figures.plural(live.count(), "live token"))
