"""The Topology page as the server answers it: map and table agree, an instant shows what was."""

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gateway_app.flow import summaries
from gateway_app.models import FlowSample, FlowSummary, Service, ServiceInstance
from gateway_app.ops import topology
from messaging.envelope import utc_now
from tests.gateway_app.flow.test_flow import a_row, keep

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client() -> Client:
    user = User.objects.create_user("anna", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_bus"))
    client = Client()
    client.force_login(user)
    return client


def handled(at: datetime, target: str = "billing", **changes: Any) -> None:
    keep(target, [a_row(at, **changes)], at)


def look(client: Client, **parameters: str) -> tuple[dict[str, Any], str]:
    """Return what the map draws, and the page."""
    answer = client.get("/ops/topology/", parameters)
    text = answer.content.decode()
    assert answer.status_code == 200, text
    found = re.search(r'<div id="map-data">(.*?)</div>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1]), text


def test_map_and_table_show_the_same_edges_failing_first(client: Client) -> None:
    at = utc_now() - timedelta(minutes=30)
    Service.objects.create(name="billing")
    handled(at, source="a", failures=0, type="a.ok")
    handled(at, source="shop", count=10, failures=3, type="z.failing")
    handled(at, source="", failures=0, type="")
    handled(at - timedelta(minutes=20), source="a", type="idle")
    summaries.add_up(at)
    drawn, text = look(client, at=at.isoformat())
    states = {(edge["source"], edge["type"]): edge["state"] for edge in drawn["edges"]}
    assert states == {
        ("", ""): "ok",
        ("a", "a.ok"): "ok",
        ("a", "idle"): "idle",
        ("shop", "z.failing"): "failing",
    }
    assert [node["id"] for node in drawn["nodes"]] == ["", "a", "billing", "shop"]
    rows = re.findall(r'edge-table-row" id="row-([^"]*)".*?data-state="(\w+)"', text)
    assert [state for _, state in rows] == ["failing", "ok", "ok", "idle"]
    assert {unescape(name) for name, _ in rows} == {edge["id"] for edge in drawn["edges"]}
    # Before the fault nothing failed.
    before, _ = look(client, at=(at - timedelta(minutes=10)).isoformat())
    assert {edge["state"] for edge in before["edges"]} == {"idle"}


def test_a_chosen_edge_has_a_panel_and_what_is_said_there_is_text(client: Client) -> None:
    at = utc_now() - timedelta(minutes=30)
    error = "<script>alert(1)</script>"
    handled(at, source="shop", count=10, failures=4, last_error=error)
    summaries.add_up(at)
    drawn, text = look(client, at=at.isoformat(), edge="shop|billing|order.paid")
    assert drawn["chosen"] == "shop|billing|order.paid"
    assert 'data-testid="edge-panel"' in text
    assert "Failing" in text
    assert "/?service=billing&amp;type=order.paid" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    _, text = look(client, edge="shop|billing|never.sent")
    assert "Nothing went this way" in text
    answer = client.get("/ops/topology/?edge=nonsense")
    assert answer.status_code == 400
    assert "edge must be" in answer.content.decode()


def test_an_empty_system_says_what_to_do(client: Client) -> None:
    _, text = look(client, at=utc_now().isoformat())
    assert "No service has registered yet" in text
    Service.objects.create(name="billing")
    drawn, text = look(client, at=utc_now().isoformat())
    assert [node["id"] for node in drawn["nodes"]] == ["billing"]
    assert "No message went between services" in text


def test_a_day_is_shown_in_bins_that_end_now() -> None:
    now = datetime(2026, 11, 25, 14, 32, 10, tzinfo=UTC)
    for ago, failures in ((0, 0), (1, 3), (13, 0), (60 * 25, 0)):
        handled(now - timedelta(minutes=ago), count=10, failures=failures)
    summaries.add_up(now)
    bins = topology.volume(now)
    assert len(bins) == 144
    assert bins[-1].at == datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
    assert [(each.count, each.failures) for each in bins[-3:]] == [(10, 0), (0, 0), (20, 3)]
    assert [each.failed_height for each in bins[-3:]] == [0.0, 0.0, 3.3]
    assert sum(each.count for each in bins) == 30


def test_two_hundred_services_take_less_than_twelve_queries(client: Client) -> None:
    now = utc_now()
    at = now - timedelta(minutes=20)
    for number in range(200):
        service = Service.objects.create(name=f"service-{number}")
        ServiceInstance.objects.create(
            instance_id=f"i{number}", service=service, registered_at=now, last_seen_at=now
        )
    _many_summaries(at, minutes=12)
    for parameters in ({"at": at.isoformat()}, {}):
        look(client, **parameters)
        with CaptureQueriesContext(connection) as queries:
            drawn, text = look(client, **parameters)
        assert len(queries) < 12, "\n".join(query["sql"][-160:] for query in queries)
        assert len(drawn["nodes"]) <= 40
        assert len(drawn["edges"]) <= 120
    drawn, text = look(client, at=at.isoformat())
    assert text.count('data-testid="edge-table-row"') == len(drawn["edges"]) > 10
    group = next(edge for edge in drawn["edges"] if edge["title"].endswith("flows"))
    _, text = look(client, at=at.isoformat(), edge=group["id"])
    assert f"<h2>{group['title']}</h2>" in text
    opened, _ = look(client, at=at.isoformat(), group="service-19")
    names = {node["id"] for node in opened["nodes"]}
    assert {f"service-19{digit}" for digit in range(10)} <= names


def _many_summaries(at: datetime, minutes: int) -> None:
    minute = at.replace(second=0, microsecond=0)
    FlowSummary.objects.bulk_create(
        [
            FlowSummary(
                resolution="minute",
                at=minute - timedelta(minutes=ago),
                source=f"service-{number}",
                target=f"service-{(number * 7 + other) % 200}",
                type=f"order.n{other}",
                kind="command",
                priority="NORMAL",
                count=10,
                failures=0,
                waiting_json="[[0,10]]",
                handling_json="[[0,10]]",
                total_json="[[0,10]]",
            )
            for ago in range(minutes)
            for number in range(200)
            for other in range(5)
        ],
        batch_size=500,
    )
    assert FlowSample.objects.count() == 0
