"""One trace over three services: a request, what its handler sends, and what that leads to."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.support.collector import Collector, Seen
from tests.support.installation import Installation
from tests.support.traced import PATH, trace_of_a_request
from tests.support.waiting import eventually

ORDER = {"target": "stock", "type": "send", "data": {"target": "mail", "type": "reject"}}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.mark.embedded_only
@pytest.mark.parametrize("priority", ["NORMAL", "CRITICAL"])
def test_a_request_and_all_that_it_led_to_is_one_trace(
    installation: Installation, collector: Collector, priority: str
) -> None:
    for service in ("shop", "stock", "mail"):
        installation.start_worker(
            service,
            MESSAGING_TELEMETRY="opentelemetry",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="100",
        )
    order = {**ORDER, "options": {"priority": priority}}
    installation.communicator().request("shop", "send", order, timeout=10)

    def trace() -> list[Seen]:
        found = collector.trace_of("handle reject")
        return found if len(found) >= 5 else []

    spans = eventually(trace, 20)
    told = {(span.service, span.name): span for span in spans}
    chain = [
        ("shop", "handle send"),
        ("shop", "send send"),
        ("stock", "handle send"),
        ("stock", "send reject"),
        ("mail", "handle reject"),
    ]
    assert set(chain) <= set(told)
    for before, after in pairwise(chain):
        assert told[after].parent_id == told[before].span_id
    assert told["mail", "handle reject"].is_error
    assert not told["stock", "handle send"].is_error
    assert told["stock", "handle send"].attributes["bus.message.priority"] == priority
    assert len({span.trace_id for span in spans}) == 1
    assert "userId" not in str([span.attributes for span in spans])


@pytest.mark.long
@pytest.mark.embedded_only
def test_an_http_request_is_one_trace_over_gateway_and_three_services(
    installation: Installation,
) -> None:
    spans = trace_of_a_request(installation)
    assert {span.service for span in spans} == {
        *("api-gateway", "scraper-service", "document-service", "user-service"),
    }
    (root,) = [span for span in spans if span.parent_id not in {each.span_id for each in spans}]
    assert (root.service, root.name) == ("api-gateway", f"POST {PATH}")
    assert len({span.trace_id for span in spans}) == 1
    assert not any(span.is_error for span in spans)


@pytest.mark.embedded_only
def test_without_the_packages_the_setting_is_refused_with_what_to_install(
    installation: Installation,
) -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import django; django.setup()\n"
        "from messaging import ServiceCommunicator\n"
        "ServiceCommunicator('a').spans"
    )
    installation.settings["telemetry"] = "opentelemetry"
    # Not forked: what it must not have is loaded there.
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=installation.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "pip install opentelemetry-sdk" in done.stderr
