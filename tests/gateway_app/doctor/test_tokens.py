"""What the doctor says of API tokens."""

from datetime import timedelta

import pytest
from pytest_django import Settings

from gateway_app import tokens, traps
from gateway_app.doctor import tokens as layer
from messaging.envelope import utc_now
from tests.gateway_app.doctor.found import findings, ids

pytestmark = pytest.mark.django_db


def test_a_token_that_never_expires_is_told_of_in_production_until_it_is_revoked(
    settings: Settings,
) -> None:
    now = utc_now()
    made = {"scopes": ["/api/*"], "actor": "ada", "now": now}
    tokens.create("shop", expires_at=now + timedelta(days=1), **made)  # type: ignore[arg-type]
    assert ids(layer.look) == set()
    endless, _ = tokens.create("till", expires_at=None, **made)  # type: ignore[arg-type]
    assert ids(layer.look) == {traps.TOKEN_FOR_EVER.id}
    settings.DEBUG = True
    assert ids(layer.look) == set()
    settings.DEBUG = False
    tokens.revoke(endless, actor="ada", now=now)
    (finding,) = findings(layer.look)
    assert (finding.id, finding.text) == ("", "1 live token")
