"""Step 4: an HTTP call that goes through three services."""

from typing import Any, Final

import httpx

from gateway_app.tour.site import ZONES, serve_site
from gateway_app.tour.stage import Stage, Step, require

#: Above the gateway's own bound, so that its answer is seen and not this client's timeout.
HTTP_SECONDS: Final = 35.0


def _play(stage: Stage) -> str:
    with serve_site() as site_url:
        found = _post(stage, {"url": site_url, "userId": 121})
    names = [zone["name"] for zone in found["zones"]]
    require(names == list(ZONES), f"the scraper found {names}")
    titles = {found["title"], *names}

    def announced() -> list[str] | None:
        activity = stage.communicator.request(
            "user-service", "get.user.activity", {"userId": 121, "limit": 100}
        )
        seen = [e["data"]["title"] for e in activity if e["type"] == "document.created"]
        return seen if titles <= set(seen) else None

    created = stage.eventually("document.created at user-service", announced)
    stored = stage.communicator.request("document-service", "document.list", {"limit": 100})
    count = sum(document["title"] in titles for document in stored)
    require(len(created) == count == len(titles), f"{count} stored, {len(created)} announced")
    return f"200; {len(names)} zones, {count} documents stored, {len(created)} announced"


def _post(stage: Stage, data: dict[str, Any]) -> Any:
    response = httpx.post(
        f"{stage.stack.gateway_url}/api/scraper/free-zones",
        json=data,
        timeout=HTTP_SECONDS,
        trust_env=False,
    )
    require(response.is_success, f"the gateway answered {response.status_code}: {response.text}")
    return response.json()


STEP = Step(
    title="HTTP to the gateway, a real page, three services",
    expected=(
        f"the scraper fetches 1 overview and {len(ZONES)} zones, document-service stores "
        f"{len(ZONES) + 1} pages, user-service sees document.created for each"
    ),
    play=_play,
)
