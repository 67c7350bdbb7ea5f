import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from gateway_app import bus
from gateway_app.http import openapi
from gateway_app.http.application import Gateway, with_cors
from gateway_app.http.routing import Routing, RoutingCache
from gateway_app.registry import register
from messaging import BrokerUnavailable, RemoteError, RequestTimeout, ServiceNotFound
from messaging.models import OutboxMessage
from tests.gateway_app.registry.test_registry import NOW, a_registration
from tests.support.asgi import AsgiClient

pytestmark = pytest.mark.django_db(transaction=True)

SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "tags": {"type": "array", "maxItems": 2}},
    "required": ["id"],
}
ROUTES = [
    {"path": "/api/users/{id}", "methods": ["GET", "PUT"], "message": "get.user"},
    {"path": "/api/users/me", "methods": ["GET"], "message": "get.me"},
    {
        "path": "/api/orders/{id}",
        "methods": ["GET", "POST"],
        "message": "order",
        "priority": "LOW",
    },
    {"path": "/api/raw", "methods": ["GET"], "message": ""},
]


@pytest.fixture(autouse=True)
def registered() -> None:
    register(
        a_registration(routes=ROUTES, schemas={"order": SCHEMA}, handles=["order"]),
        said_at=NOW,
        now=NOW,
    )


@pytest.fixture
def client() -> Iterator[AsgiClient]:
    gateway = Gateway(bus.communicator.bus.config, RoutingCache())
    with AsgiClient(gateway) as client:
        yield client


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the service answers, in turn: values, or errors to raise."""
    script: list[Any] = []

    async def request_async(target: str, message_type: str, data: Any, **_: Any) -> Any:
        answer = script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"type": message_type, "data": data, "answer": answer}

    monkeypatch.setattr(bus.communicator, "request_async", request_async)
    return script


def test_path_query_and_body_become_the_data_of_a_request(
    client: AsgiClient, answers: list[Any]
) -> None:
    answers += [1, 2]
    put = client.put("/api/users/7?x=1&y=2&y=3&y=4", json={"name": "Ada", "x": "body"})
    assert put.json()["data"] == {"id": "7", "x": "1", "y": ["2", "3", "4"], "name": "Ada"}
    assert client.get("/api/users/me").json()["type"] == "get.me"


def test_values_of_path_and_query_are_what_the_schema_says(
    client: AsgiClient, answers: list[Any]
) -> None:
    answers.append(1)
    assert client.get("/api/orders/7?tags=a").json()["data"] == {"id": 7, "tags": ["a"]}
    refused = client.get("/api/orders/seven?tags=a&tags=b&tags=c")
    assert refused.status_code == 422
    assert {error["pointer"] for error in refused.json()["errors"]} == {"/id", "/tags"}


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "status"),
    [
        ("GET", "/api/nothing", "", "", 404),
        ("GET", "/api/users/7/more", "", "", 404),
        ("GET", "/api/users//more", "", "", 404),
        ("DELETE", "/api/users/7", "", "", 405),
        ("PUT", "/api/users/7", "{nonsense", "application/json", 400),
        ("PUT", "/api/users/7", '{"x": NaN}', "application/json", 400),
        ("PUT", "/api/users/7", "[1]", "application/json", 400),
        ("PUT", "/api/users/7", "[" * 100_000, "application/json", 400),
        ("PUT", "/api/users/7", "a=b", "application/x-www-form-urlencoded", 415),
        ("PUT", "/api/users/7", "x" * 262_145, "application/json", 413),
        ("GET", "/api/raw", "", "", 503),
        ("GET", "/bus/messages/unknown", "", "", 404),
        ("POST", openapi.PATH, "", "", 405),
    ],
)
def test_what_cannot_be_a_request_is_problem_json(
    client: AsgiClient, method: str, path: str, body: str, content_type: str, status: int
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = client.request(method, path, content=body, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    if status == 405:
        assert "GET, HEAD" in response.headers["allow"]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([("host", "localhost"), ("host", "localhost")], "host"),
        ([("content-type", "application/json"), ("content-type", "text/plain")], "content-type"),
        ([("prefer", "respond-async"), ("idempotency-key", "a"), ("idempotency-key", "b")], "key"),
        ([("idempotency-key", "a")], "Prefer: respond-async"),
    ],
)
def test_headers_that_mean_two_things_or_promise_what_is_not_kept_are_refused(
    client: AsgiClient, headers: list[tuple[str, str]], said: str
) -> None:
    refused = client.post("/api/orders/7", content=b"{}", headers=headers)
    assert refused.status_code == 400, refused.text
    assert said in refused.json()["detail"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"a": 1, "a": 2}', "a name twice"),
        ('{"a": ' + "9" * 5000 + "}", "a number in the body is too long"),
        ("[" * 100_000, "nested too deep"),
        ('{"a": NaN}', "NaN is no JSON value"),
    ],
)
def test_what_is_json_only_to_some_is_refused_in_words_of_its_own(
    client: AsgiClient, body: str, said: str
) -> None:
    refused = client.post(
        "/api/orders/7", content=body, headers={"content-type": "application/json"}
    )
    assert refused.status_code == 400
    assert said in refused.json()["detail"]
    assert "sys." not in refused.text


def test_a_request_in_hand_when_the_server_stops_is_told_that_its_outcome_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[Any] = []

    async def request_async(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    async def scenario() -> None:
        gateway = Gateway(bus.communicator.bus.config, RoutingCache())
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/users/7",
            "raw_path": b"/api/users/7",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "client": ("10.0.0.1", 1),
        }
        await gateway._routing.current()
        serving = asyncio.ensure_future(gateway(scope, receive, send))
        await asyncio.sleep(0.01)
        serving.cancel()
        await serving
        await gateway.close()

    monkeypatch.setattr(bus.communicator, "request_async", request_async)
    asyncio.run(scenario())
    head, body = sent
    assert head["status"] == 504
    assert "unknown" in json.loads(body["body"])["detail"]


def test_a_host_that_is_not_ours_is_refused(client: AsgiClient) -> None:
    refused = client.get("/api/users/7", headers={"host": "evil.example"})
    assert refused.status_code == 400


@pytest.mark.parametrize(
    ("is_debug", "host", "status"),
    [
        (True, "127.0.0.1:8000", 200),
        (True, "localhost", 200),
        (True, "evil.example", 400),
        (False, "127.0.0.1:8000", 400),
    ],
)
def test_a_fresh_project_that_names_no_hosts_is_served_on_its_own_one_while_it_is_debugged(
    client: AsgiClient, settings: Settings, is_debug: bool, host: str, status: int
) -> None:
    settings.ALLOWED_HOSTS, settings.DEBUG = [], is_debug
    answer = client.get("/api/openapi.json", headers={"host": host})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RemoteError("KeyError", "x"), 502),
        (RemoteError("InvalidData", "x", code="invalid"), 422),
        (RemoteError("UserNotFound", "x", code="not_found"), 404),
        (RemoteError("Taken", "x", code="conflict"), 409),
        (ServiceNotFound("user-service"), 503),
        (BrokerUnavailable("gone"), 503),
        (RequestTimeout("user-service", "get.user", 5.0), 504),
    ],
)
def test_what_the_bus_reports_has_its_status(
    client: AsgiClient, answers: list[Any], error: Exception, status: int
) -> None:
    answers.append(error)
    response = client.get("/api/users/7")
    assert response.status_code == status
    assert (status == 503) is ("Retry-After" in response.headers)


def test_what_a_service_says_when_it_breaks_is_not_for_clients(
    client: AsgiClient, answers: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    answers += [
        RemoteError("OperationalError", "password=hunter2"),
        RemoteError("Reject", "no such user", code="not_found"),
    ]
    broken = client.get("/api/users/7")
    assert (broken.status_code, broken.json()["detail"]) == (502, "the service failed")
    assert "hunter2" not in broken.text
    assert "OperationalError" not in broken.text
    assert "hunter2" in caplog.text  # the gateway's operators see it
    refused = client.get("/api/users/7").json()
    assert (refused["detail"], refused["code"]) == ("no such user", "not_found")


def test_respond_async_is_a_durable_message_with_a_status(client: AsgiClient) -> None:
    accepted = client.post(
        "/api/orders/7", json={"tags": []}, headers={"Prefer": "wait=1, respond-async"}
    )
    assert accepted.status_code == 202, accepted.text
    assert accepted.headers["preference-applied"] == "respond-async"
    row = OutboxMessage.objects.get(message_id=accepted.json()["id"])
    assert (row.target, row.priority, row.under_custody) == ("user-service", "LOW", True)
    assert json.loads(row.envelope)[0][0]["data"] == {"id": 7, "tags": []}
    status = client.get(accepted.headers["location"]).json()
    assert (status["id"], status["target"]) == (row.message_id, "user-service")


@pytest.fixture
def _outbox_takes_nothing() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE messaging_outboxmessage RENAME TO away")
        yield
        cursor.execute("ALTER TABLE away RENAME TO messaging_outboxmessage")


@pytest.mark.usefixtures("_outbox_takes_nothing")
def test_who_is_not_answered_for_is_told_that_sending_again_is_safe(client: AsgiClient) -> None:
    refused = client.post("/api/orders/7", json={"tags": []}, headers={"Prefer": "respond-async"})
    assert refused.status_code == 503, refused.text
    assert "not accepted, safe to send again" in refused.json()["detail"]
    assert refused.headers["retry-after"]


def test_an_idempotency_key_is_one_message_and_no_other_data(client: AsgiClient) -> None:
    def post(data: Any, key: str = "k-1", **headers: str) -> Any:
        sent = {"Prefer": "respond-async", "Idempotency-Key": key, **headers}
        return client.post("/api/orders/7", json=data, headers=sent)

    first, second = post({}), post({})
    assert first.json() == second.json()
    assert OutboxMessage.objects.count() == 1
    assert post({"tags": ["other"]}).status_code == 422
    assert post({}, key="k-2").json() != first.json()
    assert post({}, key="with space").status_code == 400
    assert post({}, **{"Message-Priority": "urgent"}).status_code == 400
    third = post({}, key="k-3", **{"Message-Priority": "critical"})
    assert OutboxMessage.objects.get(message_id=third.json()["id"]).priority == "CRITICAL"


def test_pages_of_other_origins_may_call_only_if_they_are_allowed() -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "PUT"}
    gateway = Gateway(bus.communicator.bus.config, RoutingCache())
    for origins, is_allowed in (("", False), ("https://shop.example", True), ("https://x", False)):
        with AsgiClient(with_cors(gateway, origins)) as client:
            preflight = client.options("/api/users/7", headers=asked)
            assert ("access-control-allow-origin" in preflight.headers) is is_allowed
            plain = client.get("/api/nothing", headers={"Origin": "https://shop.example"})
            assert ("access-control-allow-origin" in plain.headers) is is_allowed


def test_options_without_a_route_says_what_there_is(client: AsgiClient) -> None:
    response = client.options("/api/users/7")
    assert (response.status_code, response.headers["allow"]) == (204, "GET, HEAD, PUT, OPTIONS")


def test_the_openapi_document_is_written_once_for_all_who_ask(
    client: AsgiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = openapi.document_bytes

    def counted(routing: Routing, **more: Any) -> bytes:
        written.append(routing.revision)
        return write(routing, **more)

    monkeypatch.setattr(openapi, "document_bytes", counted)
    answers = client.gets(openapi.PATH, times=5)
    assert len({answer.content for answer in answers}) == 1
    assert len(written) == 1


def test_the_routes_are_an_openapi_document(client: AsgiClient) -> None:
    document = client.get(openapi.PATH).json()
    operation = document["paths"]["/api/orders/{id}"]["post"]
    assert operation["parameters"][0]["schema"] == {"type": "integer"}
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert (list(body["properties"]), body["required"]) == (["tags"], [])
    assert "202" in operation["responses"]
    assert document["paths"]["/api/raw"]["get"]["responses"]["default"]


def test_probes_metrics_and_admin_answer(admin_client: Client, client: AsgiClient) -> None:
    assert admin_client.get("/health").status_code == 200
    assert admin_client.get("/ready").status_code == 200
    client.get("/api/nothing")
    text = admin_client.get("/metrics").content.decode()
    assert 'gateway_requests_total{method="",route="",service="",status="404"}' in text
    assert 'bus_instances{state="UP"} 1.0' in text
    for model in ("service", "serviceinstance", "route", "healthrecord", "deadletter"):
        assert admin_client.get(f"/admin/gateway_app/{model}/").status_code == 200
    assert admin_client.get("/admin/messaging/outboxmessage/").status_code == 200
