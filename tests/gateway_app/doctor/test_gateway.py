import json

import pytest
from pytest_django import Settings

from gateway_app import traps
from gateway_app.doctor import gateway
from gateway_app.preconditions import free_port
from tests.gateway_app.doctor.conftest import HttpServer
from tests.gateway_app.doctor.found import findings, ids

READY = json.dumps({"status": "ready", "checks": {"database": "ok", "broker": "ok"}})
NOT_READY = json.dumps({"status": "not ready", "checks": {"database": "ok", "broker": "away"}})


@pytest.fixture(autouse=True)
def free_ports(settings: Settings) -> None:
    settings.GATEWAY_PORT, settings.FLOWER_PORT = free_port(), free_port()


def test_a_gateway_that_does_not_run_is_a_warning() -> None:
    assert ids(gateway.look) == {traps.NO_GATEWAY.id}


def test_a_gateway_that_is_ready_has_no_finding(
    settings: Settings, http_server: HttpServer
) -> None:
    settings.GATEWAY_PORT = http_server(200, READY)
    assert ids(gateway.look) == set()


def test_a_gateway_that_is_not_ready_is_found_with_what_it_lacks(
    settings: Settings, http_server: HttpServer
) -> None:
    settings.GATEWAY_PORT = http_server(503, NOT_READY)
    assert ids(gateway.look) == {traps.GATEWAY_NOT_READY.id}
    assert findings(gateway.look)[0].text == "broker: away"


@pytest.mark.parametrize("text", ["hello", "[]", '{"checks": null}'])
def test_another_program_at_the_port_of_the_gateway_is_found(
    text: str, settings: Settings, http_server: HttpServer
) -> None:
    settings.GATEWAY_PORT = http_server(200, text)
    assert ids(gateway.look) == {traps.OTHER_PROGRAM.id}
