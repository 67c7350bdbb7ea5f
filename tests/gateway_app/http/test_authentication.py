"""Who may call the gateway: every way in without a token that opens the route is a refusal."""

import hmac
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.db import DatabaseError

from gateway_app import bus, tokens
from gateway_app.http import database, metrics, openapi
from gateway_app.http.application import Gateway, with_cors
from gateway_app.http.authentication import TRUSTED_SECONDS, is_token_needed
from gateway_app.http.routing import STALE_SECONDS, Routing, RoutingCache, read
from gateway_app.models import ApiToken
from gateway_app.registry import register
from messaging import MessagingConfig
from messaging.envelope import utc_now
from tests.gateway_app.http.test_proxy import OK, Server
from tests.gateway_app.metrics_text import scrape, value
from tests.gateway_app.registry.test_registry import NOW, a_registration
from tests.support.asgi import AsgiClient
from tests.support.installation import ROOT
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

ROUTES: list[dict[str, Any]] = [
    {"path": "/api/users/{id}", "methods": ["GET", "POST"], "message": "get.user"},
    {"path": "/api/users/me", "methods": ["GET"], "message": "get.me"},
    {"path": "/api/news", "methods": ["GET"], "message": "get.news", "auth": "none"},
    {"path": "/api/keys", "methods": ["GET"], "message": "get.keys", "auth": "token"},
]
USERS = ["/api/users/*"]


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Services answer everything; what they were asked."""
    register(a_registration(routes=ROUTES), said_at=NOW, now=NOW)
    asked: list[Any] = []

    async def request_async(_target: str, message_type: str, data: Any, **_: Any) -> Any:
        asked.append((message_type, data))
        return {"type": message_type}

    monkeypatch.setattr(bus.communicator, "request_async", request_async)
    return asked


class Time:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def a_gateway(auth: str = "token", cache: RoutingCache | None = None, **more: Any) -> Gateway:
    config = replace(bus.communicator.bus.config, http_auth=auth, **more)
    return Gateway(config, cache or RoutingCache())


@pytest.fixture
def client() -> Iterator[AsgiClient]:
    with AsgiClient(a_gateway()) as client:
        yield client


def a_token(*scopes: str, seconds: float | None = 60, name: str = "a caller") -> str:
    now = utc_now()
    expires_at = None if seconds is None else now + timedelta(seconds=abs(seconds))
    token, text = tokens.create(name, scopes or USERS, expires_at=expires_at, actor="ann", now=now)
    if seconds is not None and seconds < 0:
        ApiToken.objects.filter(pk=token.pk).update(expires_at=now + timedelta(seconds=seconds))
    return text


def the_row(text: str) -> ApiToken:
    return ApiToken.objects.get(public_id=text.split("_")[1])


def revoked(text: str) -> str:
    assert tokens.revoke(the_row(text), actor="ann", now=utc_now())
    return text


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def other_secret(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


WRONG: dict[str, Callable[[], Any]] = {
    "nothing": dict,
    "empty": lambda: bearer(""),
    "no scheme": lambda: {"authorization": a_token()},
    "another scheme": lambda: {"authorization": f"Basic {a_token()}"},
    "no prefix": lambda: bearer(a_token().removeprefix("mbus_")),
    "unknown": lambda: bearer(f"mbus_{'0' * 12}_{'0' * 64}"),
    "guessed secret": lambda: bearer(other_secret(a_token())),
    "hash for secret": lambda: bearer(a_token()[:18] + the_row(a_token()).secret_hash),
    "upper case": lambda: bearer(a_token().upper()),
    "trailing garbage": lambda: bearer(a_token() + "0"),
    "trailing word": lambda: bearer(a_token() + " x"),
    "trailing comma": lambda: bearer(a_token() + ", Bearer x"),
    "cut short": lambda: bearer(a_token()[:-1]),
    "not ASCII": lambda: {"authorization": b"Bearer \xff\xfe"},
    "two headers": lambda: [("authorization", f"Bearer {a_token()}")] * 2,
    "a good one second": lambda: [
        ("authorization", "Bearer x"),
        ("authorization", f"Bearer {a_token()}"),
    ],
    "another header": lambda: {"x-api-key": a_token(), "cookie": f"token={a_token()}"},
    "expired": lambda: bearer(a_token(seconds=-1)),
    "revoked": lambda: bearer(revoked(a_token())),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_whatever_is_wrong_with_a_token_the_answer_is_the_same_401(
    wrong: str, client: AsgiClient, asked: list[Any]
) -> None:
    answer = client.get("/api/users/7", headers=WRONG[wrong]())
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "this needs a valid API token: Authorization: Bearer …"
    assert asked == []


def test_a_token_in_the_query_opens_nothing(client: AsgiClient) -> None:
    text = a_token()
    for query in (f"access_token={text}", f"token={text}", f"authorization=Bearer%20{text}"):
        assert client.get(f"/api/users/7?{query}").status_code == 401


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER {}", " Bearer {}\t"])
def test_a_token_opens_the_routes_its_scopes_cover(form: str, client: AsgiClient) -> None:
    headers = {"authorization": form.format(a_token())}
    assert client.get("/api/users/7", headers=headers).status_code == 200
    assert client.get("/api/users/me", headers=headers).status_code == 200
    refused = client.get("/api/keys", headers=headers)
    assert refused.status_code == 403
    assert refused.json()["detail"] == "this API token does not open this route"


@pytest.mark.parametrize(
    "path", ["/api/users/me", "/api/users/%6De", "/api/%75sers/me", "/api/users/me?id=7"]
)
def test_no_way_of_writing_a_path_makes_it_another_route(
    path: str, client: AsgiClient, asked: list[Any]
) -> None:
    narrow = bearer(a_token("/api/users/{id}"))
    assert client.get("/api/users/7", headers=narrow).status_code == 200
    assert client.get(path, headers=narrow).status_code == 403
    assert len(asked) == 1


def test_a_route_says_itself_who_may_call_it() -> None:
    text = a_token("/api/*")
    with AsgiClient(a_gateway("token")) as client:
        assert client.get("/api/news").status_code == 200
        assert client.get("/api/keys").status_code == 401
    with AsgiClient(a_gateway("none")) as client:
        assert client.get("/api/users/7").status_code == 200
        assert client.get("/api/keys").status_code == 401
        assert client.get("/api/keys", headers=bearer(text)).status_code == 200


def test_what_is_the_gateways_own_is_open_to_any_token(client: AsgiClient) -> None:
    text = a_token()
    for path, status in (("/bus/messages/unknown", 404), (openapi.PATH, 200)):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer(text)).status_code == status
    with AsgiClient(a_gateway("none")) as open_to_all:
        assert open_to_all.get(openapi.PATH).status_code == 200


def test_tokens_are_needed_unless_this_is_a_laptop(settings: Any) -> None:
    config = MessagingConfig(broker_url="sqlite:////x")
    settings.IS_DEVELOPMENT = True
    assert not is_token_needed(config, None)
    settings.IS_DEVELOPMENT = False
    assert is_token_needed(config, None)
    assert not is_token_needed(replace(config, http_auth="none"), None)
    assert is_token_needed(replace(config, http_auth="none"), "token")


def test_debug_off_is_no_laptop() -> None:
    code = "from gateway_app import settings; print(settings.IS_DEVELOPMENT)"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"DJANGO_DEBUG": debug, "DJANGO_SECRET_KEY": "of a test", "PATH": "/usr/bin"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for debug in ("0", "1")
    ]
    assert said == ["False", "True"]


def test_a_revoked_token_stops_working_within_five_seconds() -> None:
    time = Time()
    text = a_token()
    with AsgiClient(a_gateway(cache=RoutingCache(monotonic=time))) as client:
        assert client.get("/api/users/7", headers=bearer(text)).status_code == 200
        revoked(text)
        time.seconds += STALE_SECONDS + 0.1
        assert STALE_SECONDS == 5
        assert client.get("/api/users/7", headers=bearer(text)).status_code == 401


def test_an_expired_token_stops_working_at_that_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = a_gateway(cache=RoutingCache(monotonic=Time()))  # nothing is read again
    text = a_token(seconds=60)
    with AsgiClient(gateway) as client:
        assert client.get("/api/users/7", headers=bearer(text)).status_code == 200
        end = the_row(text).expires_at
        monkeypatch.setattr(gateway._authentication, "_now", lambda: end)
        assert client.get("/api/users/7", headers=bearer(text)).status_code == 401


def test_a_process_without_a_database_trusts_tokens_for_five_minutes() -> None:
    time, text, is_away = Time(), a_token(), False

    def from_database(known: Routing) -> Routing:
        if is_away:
            raise DatabaseError("away")
        return read(known)

    with AsgiClient(a_gateway(cache=RoutingCache(from_database, time))) as client:
        assert client.get("/api/users/7", headers=bearer(text)).status_code == 200
        is_away = True
        for seconds, status in ((TRUSTED_SECONDS, 200), (1, 503)):
            time.seconds += seconds
            assert client.get("/api/users/7", headers=bearer(text)).status_code == status
        assert client.get("/api/news").status_code == 200
        is_away = False
        time.seconds += 2

        def works() -> bool:
            return client.get("/api/users/7", headers=bearer(text)).status_code == 200

        eventually(works, 10, "the database is read again")


def test_a_request_with_a_token_asks_the_database_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    headers = bearer(a_token())
    with AsgiClient(a_gateway(cache=RoutingCache(monotonic=Time()))) as client:
        assert client.get("/api/users/7", headers=headers).status_code == 200

        def nothing(*_: Any, **__: Any) -> Any:
            raise AssertionError("the database was asked")

        monkeypatch.setattr(database, "_run", nothing)
        statuses = {client.get("/api/users/7", headers=headers).status_code for _ in range(20)}
        statuses |= {client.get("/api/users/7", headers=bearer("x")).status_code}
        monkeypatch.undo()
    assert statuses == {200, 401}


def test_secrets_are_compared_in_constant_time_known_or_not(
    client: AsgiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []
    compare = hmac.compare_digest

    def spy(one: str, other: str) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    text = a_token()
    for each in (text, other_secret(text), f"mbus_{'0' * 12}_{'0' * 64}"):
        client.get("/api/users/7", headers=bearer(each))
    assert [len(one) == len(other) == 64 for one, other in compared] == [True] * 3
    assert compared[0][1] == compared[1][1] == the_row(text).secret_hash


def test_when_a_token_was_last_used_is_on_record(client: AsgiClient) -> None:
    text, unused = a_token(), a_token()
    client.get("/api/users/7", headers=bearer(text))
    client.get("/api/users/7", headers=bearer(other_secret(unused)))
    client.__exit__(None, None, None)  # what is being written is waited for
    used_at = the_row(text).last_used_at
    assert used_at is not None
    assert abs(utc_now() - used_at) < timedelta(seconds=60)
    assert the_row(unused).last_used_at is None
    client.__enter__()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(OK)
    yield server
    server.close()


def test_an_instance_does_not_get_the_token_it_was_called_with(server: Server) -> None:
    routes = [{"path": "/api/raw"}, {"path": "/api/open", "auth": "none"}]
    offered = a_registration("raw", "r1", routes=routes, host="127.0.0.1", port=server.port)
    register(offered, said_at=NOW, now=NOW)
    text = a_token("/api/*")
    with AsgiClient(a_gateway()) as client:
        assert client.get("/api/raw", headers=bearer(text)).status_code == 200
        # Not the gateway's to take: the instance has its own callers.
        assert client.get("/api/open", headers=bearer("its own")).status_code == 200
    assert b"authorization" not in server.heads[0].lower()
    assert text.encode() not in server.heads[0]
    assert b"authorization: Bearer its own\r\n" in server.heads[1]


def test_a_token_is_in_no_log_and_no_message(
    client: AsgiClient,
    asked: list[Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    text, dead = a_token("/api/*"), revoked(a_token())
    client.get("/api/users/7", headers=bearer(text))
    client.get("/api/users/7", headers=bearer(dead))
    client.get(f"/api/users/7?access_token={text}")
    assert text.split("_")[2] not in str(asked)

    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a fault of the gateway's own")

    monkeypatch.setattr(bus.communicator, "request_async", broken)
    assert client.get("/api/users/7", headers=bearer(text)).status_code == 500
    # The client of this test has a log of its own.
    logged = [record for record in caplog.records if not record.name.startswith("http")]
    said = "\n".join(map(logging.Formatter().format, logged))
    assert "a fault of the gateway's own" in said
    for each in (text, dead):
        assert each.split("_")[2] not in said


def test_a_page_of_another_origin_can_ask_before_it_sends_the_token() -> None:
    origin = {"origin": "https://shop.example"}
    wanted = {"access-control-request-method": "GET"} | {
        "access-control-request-headers": "authorization"
    }
    with AsgiClient(with_cors(a_gateway(), "https://shop.example")) as client:
        preflight = client.options("/api/users/7", headers=origin | wanted)
        assert preflight.status_code == 200
        refused = client.get("/api/users/7", headers=origin)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"


def test_who_guesses_is_counted_and_held_up() -> None:
    name, of_client = "gateway_unauthorized_total", {"client": "10.0.0.1"}
    metrics.count_unauthorized("10.0.0.1")
    before = value(scrape(), name, **of_client)
    with AsgiClient(a_gateway(http_rate=5)) as client:
        guess = bearer(f"mbus_{'0' * 12}_{'0' * 64}")
        answers = [client.get("/api/users/7", headers=guess) for _ in range(10)]
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {401, 429}
    assert value(scrape(), name, **of_client) == before + statuses.count(401)


def test_clients_without_number_make_no_series_without_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "_clients", set())
    for number in range(metrics.MOST_CLIENTS + 50):
        metrics.count_unauthorized(f"2001:db8:{number:x}::1")
    for number in range(50):
        metrics.count_unauthorized(f"2001:db8::{number:x}")
    assert len(metrics._clients) == metrics.MOST_CLIENTS + 1
    assert metrics._network_of("2001:db8::1:2:3:4") == "2001:db8::/64"
    assert metrics._network_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert metrics._network_of("unix:") == "unix:"


def test_the_document_says_who_may_call_what(client: AsgiClient) -> None:
    document = client.get(openapi.PATH, headers=bearer(a_token())).json()
    scheme = document["components"]["securitySchemes"]["apiToken"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    operations = {path: item["get"] for path, item in document["paths"].items()}
    for path in ("/api/users/{id}", "/api/keys", "/bus/messages/{id}"):
        assert operations[path]["security"] == [{"apiToken": []}]
        assert operations[path]["responses"]["401"] == {"$ref": "#/components/responses/Token401"}
    assert operations["/api/news"]["security"] == []
    assert "401" not in operations["/api/news"]["responses"]
    with AsgiClient(a_gateway("none")) as open_to_all:
        document = open_to_all.get(openapi.PATH).json()
    secured = {path for path, item in document["paths"].items() if item["get"]["security"]}
    assert secured == {"/api/keys"}


def test_an_idempotency_key_is_the_callers_own(client: AsgiClient) -> None:
    """Another caller who happens on the same key gets a message of its own, no word of ours."""
    shop, again, till = a_token(name="shop"), a_token(name="shop"), a_token(name="till")

    def post(token: str, amount: int) -> httpx.Response:
        headers = bearer(token) | {"prefer": "respond-async", "idempotency-key": "1"}
        return client.post("/api/users/7", json={"amount": amount}, headers=headers)

    first = post(shop, 1).json()["id"]
    assert post(shop, 1).json()["id"] == first
    assert post(again, 1).json()["id"] == first  # the next token of the same caller
    assert post(shop, 2).status_code == 422
    other = post(till, 2)
    assert other.status_code == 202
    assert other.json()["id"] != first


def test_a_durable_message_needs_a_token_as_any_request(client: AsgiClient) -> None:
    def post(**headers: str) -> httpx.Response:
        headers["prefer"] = "respond-async"
        return client.post("/api/users/7", json={}, headers=headers)

    text, other = a_token(), a_token("/api/other")
    assert post().status_code == 401
    accepted = post(**bearer(text))
    assert accepted.status_code == 202
    assert client.get(accepted.headers["location"]).status_code == 401
    status = client.get(accepted.headers["location"], headers=bearer(other))
    assert status.json()["state"] == "accepted"
