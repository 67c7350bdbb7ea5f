import json
from typing import Any

import pytest
from django.test import Client

from gateway_app import bus
from gateway_app.registry import register
from messaging import BrokerUnavailable, RemoteError, RequestTimeout, ServiceNotFound
from tests.gateway_app.test_registry import NOW, a_registration

pytestmark = pytest.mark.django_db(transaction=True)

ROUTES = [
    {"path": "/api/users/{id}", "methods": ["GET", "PUT"], "message": "get.user"},
    {"path": "/api/users/me", "methods": ["GET"], "message": "get.me"},
    {"path": "/api/raw", "methods": ["GET"], "message": ""},
]


@pytest.fixture(autouse=True)
def registered() -> None:
    register(a_registration(routes=ROUTES), said_at=NOW, now=NOW)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the service answers, in turn: values, or errors to raise. Then: what it was asked."""
    script: list[Any] = []

    async def request_async(target: str, message_type: str, data: Any) -> Any:
        answer = script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"type": message_type, "data": data, "answer": answer}

    monkeypatch.setattr(bus.communicator, "request_async", request_async)
    return script


def test_path_query_and_body_become_the_data_of_a_request(answers: list[Any]) -> None:
    answers += [1, 2]
    client = Client()
    put = client.put("/api/users/7?x=1", {"name": "Ada"}, content_type="application/json")
    assert put.json()["data"] == {"id": "7", "x": "1", "name": "Ada"}
    literal = client.get("/api/users/me")
    assert literal.json()["type"] == "get.me"


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "status"),
    [
        ("GET", "/api/nothing", "", "", 404),
        ("GET", "/api/users/7/more", "", "", 404),
        ("DELETE", "/api/users/7", "", "", 405),
        ("PUT", "/api/users/7", "{nonsense", "application/json", 400),
        ("PUT", "/api/users/7", "[1]", "application/json", 400),
        ("PUT", "/api/users/7", "a=b", "application/x-www-form-urlencoded", 415),
        ("PUT", "/api/users/7", "x" * 262_145, "application/json", 413),
        ("GET", "/api/raw", "", "", 501),
    ],
)
def test_what_cannot_be_a_request_is_problem_json(
    method: str, path: str, body: str, content_type: str, status: int
) -> None:
    response = Client().generic(method, path, body, content_type=content_type)
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    assert json.loads(response.content)["status"] == status
    if status == 405:
        assert response["Allow"] == "GET, HEAD, PUT"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RemoteError("KeyError", "x"), 502),
        (ServiceNotFound("user-service"), 503),
        (BrokerUnavailable("gone"), 503),
        (RequestTimeout("user-service", "get.user", 5.0), 504),
    ],
)
def test_what_the_bus_reports_has_its_status(
    answers: list[Any], error: Exception, status: int
) -> None:
    answers.append(error)
    response = Client().get("/api/users/7")
    assert response.status_code == status
    assert (status == 503) is ("Retry-After" in response.headers)


def test_probes_and_admin_answer(admin_client: Client) -> None:
    assert admin_client.get("/health").status_code == 200
    assert admin_client.get("/ready").status_code == 200
    for model in ("service", "serviceinstance", "route", "healthrecord", "deadletter"):
        assert admin_client.get(f"/admin/gateway_app/{model}/").status_code == 200
    assert admin_client.get("/admin/messaging/outboxmessage/").status_code == 200
    assert admin_client.get("/admin/gateway_app/service/add/").status_code == 403
