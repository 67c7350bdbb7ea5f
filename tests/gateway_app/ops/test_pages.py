"""Pages as the server answers them: rights, wrong addresses, cost, without JavaScript."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gateway_app.models import DeadLetter, HealthRecord, Service, ServiceInstance
from gateway_app.ops.pages import PAGES
from gateway_app.ops.rights import POLICY
from messaging.envelope import utc_now
from tests.gateway_app.conftest import Login

pytestmark = pytest.mark.django_db
PATHS = [f"/ops/{page.path}" for page in PAGES if "<" not in page.path]


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_under_the_policy_and_for_those_who_may(path: str, login: Login) -> None:
    answer = Client().get(path)
    assert (answer.status_code, answer.headers["location"]) == (302, f"/admin/login/?next={path}")
    client = login("view_bus")
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    User.objects.get().user_permissions.clear()
    assert client.get(path).status_code == 403


@pytest.mark.parametrize("path", PATHS)
def test_every_page_asks_the_database_less_than_twelve_times(path: str, login: Login) -> None:
    now = utc_now()
    for number in range(30):
        service = Service.objects.create(name=f"s{number}")
        ServiceInstance.objects.create(
            instance_id=f"i{number}", service=service, registered_at=now, last_seen_at=now
        )
        HealthRecord.objects.create(service=service, state="UP", cause="registered", at=now)
        DeadLetter.objects.create(
            message_id=f"m{number}", service=f"s{number}", reason="invalid", parked_at=now
        )
    client = login("view_bus")
    client.get(path)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get(path).status_code == 200
    assert len(queries) < 12, "\n".join(query["sql"][-160:] for query in queries)


def test_an_address_that_makes_no_sense_is_refused_in_words(login: Login) -> None:
    client = login("view_bus")
    for query, word in (("range=3h", "range"), ("at=yesterday", "at")):
        answer = client.get(f"/ops/?{query}")
        assert answer.status_code == 400
        assert f"{word} must be" in answer.content.decode()


def test_an_instant_in_the_address_stops_the_page_there(login: Login) -> None:
    at = utc_now() - timedelta(hours=1)
    service = Service.objects.create(name="a")
    HealthRecord.objects.create(service=service, state="DOWN", cause="later", at=utc_now())
    HealthRecord.objects.create(
        service=service, state="UP", cause="earlier", at=at - timedelta(seconds=1)
    )
    text = login("view_bus").get("/ops/", {"at": at.isoformat()}).content.decode()
    assert "earlier" in text
    assert "later" not in text
    assert 'data-mode="paused"' in text
    assert 'id="live"' not in text


def test_where_the_server_cannot_stream_the_page_asks_for_its_regions(login: Login) -> None:
    client = login("view_bus")  # Django's test client is a WSGI server
    text = client.get("/ops/").content.decode()
    assert 'data-mode="polling"' in text
    assert "data-connect" not in text
    regions = client.get("/ops/?regions=1").content.decode()
    assert regions.startswith('<hx-partial hx-target="#region-nav"')
    assert "<html" not in regions


def test_what_comes_from_outside_is_shown_as_text(login: Login) -> None:
    service = Service.objects.create(name="a")
    evil = "<script>alert(1)</script>" + "x" * 262_144
    HealthRecord.objects.create(service=service, state="DOWN", cause=evil, at=utc_now())
    answer = login("view_bus").get("/ops/")
    text = answer.content.decode()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert len(text) < 100_000


def test_the_search_leads_to_what_was_meant(login: Login) -> None:
    Service.objects.create(name="user-service")
    client = login("view_bus")
    assert client.get("/ops/search/?q=").headers["location"] == "/ops/"
    assert "service=user-service" in client.get("/ops/search/?q=user-service").headers["location"]
    assert client.get("/ops/search/?q=x.y").headers["location"] == "/ops/messages/?q=x.y"
