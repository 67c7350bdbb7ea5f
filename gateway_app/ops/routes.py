"""The gateway's routes: what answers which path, and how requests went on this server."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from gateway_app.http import metrics
from gateway_app.http.authentication import is_token_needed
from gateway_app.models import Route, ServiceInstance, State
from gateway_app.networks import Networks
from gateway_app.ops import reads
from gateway_app.ops.question import Question
from messaging.apps import configured

#: Statuses from here on are the service's fault, or the gateway's.
FIRST_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Answers:
    """How requests of one route were answered since this server process began."""

    count: int
    refused: int
    failed: int


def routes(asked: Question) -> dict[str, Any]:
    """Return every route, those of services that are away first."""
    services = {each.service.pk: each for each in asked.once(reads.registry).services}
    counted = _answers()
    networks = Networks.of(configured())
    wanted = asked.parameters.get("service")
    rows = []
    for route in Route.objects.select_related("service"):
        if wanted and route.service.name != wanted:
            continue
        shown = services.get(route.service_id)
        answers = counted.get((route.service.name, route.method, route.path), Answers(0, 0, 0))
        state = shown.state if shown else State.UNKNOWN
        needs_token = is_token_needed(configured(), route.options.get("auth"))
        fault = "" if route.message or not shown else _unreachable(shown.instances, networks)
        rows.append(
            {
                "route": route,
                "state": state,
                "answers": answers,
                "needs_token": needs_token,
                "fault": fault,
            }
        )
    rows.sort(key=lambda row: row["state"] in (State.UP, State.SUSPECT))
    return {
        "rows": rows,
        "service": wanted,
        "document_needs_token": is_token_needed(configured(), None),
        "breakers_open": int(_value("gateway_breakers_open")),
        "in_flight": int(_value("gateway_requests_in_flight")),
    }


def _unreachable(instances: Iterable[ServiceInstance], networks: Networks) -> str:
    """Return why the gateway connects to none of the instances; empty if it may to one."""
    refusals = [networks.refusal(each.host) for each in instances if each.port is not None]
    return refusals[0] if refusals and all(refusals) else ""


def _answers() -> dict[tuple[str, str, str], Answers]:
    found: dict[tuple[str, str, str], Answers] = {}
    for family in metrics.REQUESTS.collect():
        for sample in family.samples:
            if not sample.name.endswith("_total"):
                continue
            labels = sample.labels
            key = labels["service"], labels["method"], labels["route"]
            known = found.get(key, Answers(0, 0, 0))
            status, count = int(labels["status"]), int(sample.value)
            is_refused = 400 <= status < FIRST_SERVER_ERROR
            found[key] = Answers(
                known.count + count,
                known.refused + (count if is_refused else 0),
                known.failed + (count if status >= FIRST_SERVER_ERROR else 0),
            )
    return found


def _value(name: str) -> float:
    return metrics.REGISTRY.get_sample_value(name) or 0.0
