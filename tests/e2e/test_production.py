"""The gateway's server as it is with DJANGO_DEBUG=0 and nothing else said: shut, until opened."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway_app.preconditions import free_port
from tests.support.brokers import BROKERS
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

DOCUMENT = "/api/openapi.json"
PRODUCTION = {"DJANGO_DEBUG": "0", "DJANGO_SECRET_KEY": "of a test"}


@pytest.fixture
def installation(tmp_path: Path, migrated_database: Path) -> Iterator[Installation]:
    private = Installation(BROKERS["sqlite"], tmp_path, migrated_database)
    yield private
    private.close()


def start_web(installation: Installation, client: httpx.Client) -> Process:
    process = installation.start(
        "web",
        *("uvicorn", "gateway_app.asgi:application", "--port", str(client.base_url.port)),
        *("--log-level", "debug"),
        **PRODUCTION,
    )

    def answers() -> bool:
        try:
            return client.get("/health").status_code == 200
        except httpx.ConnectError:
            return not process.is_running()

    eventually(answers, 30, "the web server")
    assert process.is_running(), process.log.read_text()[-3000:]
    return process


def test_nobody_calls_without_a_token_that_an_operator_made(installation: Installation) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        process = start_web(installation, client)

        def status(*tokens: str) -> int:
            headers = [("authorization", f"Bearer {token}") for token in tokens]
            return client.get(DOCUMENT, headers=headers).status_code

        assert status() == 401
        made = installation.manage(
            "bus_token", "create", "e2e", "--scope", "/api/*", "--for", "1d"
        )
        token = made.stdout.strip()
        eventually(lambda: status(token) == 200, 10, "the token works")
        assert status(token, token) == 401
        assert client.get(DOCUMENT, params={"access_token": "x"}).status_code == 401
        listed = installation.manage("bus_token", "list")
        assert token.split("_")[1] in listed.stdout
        installation.manage("bus_token", "revoke", token.split("_")[1]).check_returncode()
        eventually(lambda: status(token) == 401, 10, "the token is revoked")
        process.stop()
    written = process.log.read_text()
    assert DOCUMENT in written  # requests are logged here
    assert token.split("_")[2] not in written + listed.stdout
