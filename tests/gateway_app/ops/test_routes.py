"""The Gateway routes page: who may call what, and what the gateway cannot pass on."""

import re
from html import unescape
from typing import Any

import pytest

from gateway_app import registry
from tests.gateway_app.conftest import Login
from tests.gateway_app.registry.test_registry import NOW, a_registration

pytestmark = pytest.mark.django_db


def cells(html: str, name: str) -> list[str]:
    found = re.findall(rf'data-testid="{name}">(.*?)</', html, re.DOTALL)
    return [unescape(each) for each in found]


def test_a_route_is_shown_with_who_may_call_it(login: Login, settings: Any) -> None:
    routes = [
        {"path": "/api/a", "message": "a", "auth": "none"},
        {"path": "/api/b", "message": "b"},
        {"path": "/api/c", "message": "c", "auth": "token"},
    ]
    registry.register(a_registration(routes=routes), said_at=NOW, now=NOW)
    client = login("view_bus")
    for is_development, default in ((True, "anybody"), (False, "API token")):
        settings.IS_DEVELOPMENT = is_development
        html = client.get("/ops/routes/").content.decode()
        assert cells(html, "route-auth") == ["anybody", default, "API token"]
        # A browser has no token to follow it with.
        assert ('href="/api/openapi.json"' in html) is is_development


def test_a_route_whose_instances_are_where_the_gateway_may_not_connect_says_so(
    login: Login,
) -> None:
    routes = [{"path": "/api/raw"}, {"path": "/api/bus", "message": "m"}]
    for instance, host in (("i1", "169.254.169.254"), ("i2", "169.254.169.253")):
        offered = a_registration("s", instance, routes=routes, host=host, port=80)
        registry.register(offered, said_at=NOW, now=NOW)
    client = login("view_bus")
    shown = cells(client.get("/ops/routes/").content.decode(), "route-fault")
    assert shown == ["address 169.254.169.254 is not allowed: upstream_networks"]
    # One that may be reached is enough, and what a name means is not looked up for a page.
    offered = a_registration("s", "i3", routes=routes, host="s.internal", port=80)
    registry.register(offered, said_at=NOW, now=NOW)
    assert cells(client.get("/ops/routes/").content.decode(), "route-fault") == []
