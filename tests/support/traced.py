"""An HTTP request to the example services, and the trace of all that it leads to."""

from typing import Final

from gateway_app.tour.site import serve_site
from tests.support.collector import Collector, Seen
from tests.support.http_stack import HttpStack
from tests.support.installation import Installation
from tests.support.waiting import eventually

SERVICES: Final = ("scraper", "document", "user")
PATH: Final = "/api/scraper/free-zones"
#: Spans of one request: of the gateway two, of the scraper five, of the others eight and four.
SPANS: Final = 19


def trace_of_a_request(installation: Installation) -> list[Seen]:
    """Have pages scraped, stored and told of, and return the spans, by their beginning."""
    with Collector() as collector, HttpStack(installation, telemetry="opentelemetry") as stack:
        installation.variables |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        stack.start()
        for name in SERVICES:
            installation.start(name, "celery", "-A", f"services.{name}", "worker")
        database = installation.database()

        def are_subscribed() -> bool:
            query = (
                "SELECT count(DISTINCT service_id) FROM gateway_app_serviceinstance "
                "JOIN gateway_app_service s ON s.id = service_id WHERE s.name IN (?, ?, ?)"
            )
            names = [f"{name}-service" for name in SERVICES]
            return bool(database.execute(query, names).fetchone()[0] == len(SERVICES))

        # Who starts after an event was broadcast does not get it.
        eventually(are_subscribed, 40, "all services are there")
        with serve_site() as url:

            def is_answered() -> bool:
                return stack.client.post(PATH, json={"url": url}).status_code == 200

            eventually(is_answered, 40, "the pages are scraped")

            def spans() -> list[Seen]:
                found = collector.trace_of("handle document.created")
                return found if len(found) >= SPANS else []

            return eventually(spans, 30, "all of its spans")
