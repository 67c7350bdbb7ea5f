"""Step 3: an event reaches every service that subscribed to it, once each."""

from typing import Any

from gateway_app.tour.stage import Stage, Step, require


def _play(stage: Stage) -> str:
    bus = stage.communicator
    stored = bus.request(
        "document-service",
        "document.store",
        {"url": "https://example.com/tour", "title": "The tour", "text": "Step three."},
    )
    message_id = bus.broadcast("document.viewed", {"id": stored["id"], "userId": 123})

    def viewed_at() -> Any:
        document = bus.request("document-service", "document.get", {"id": stored["id"]})
        return document["lastViewedAt"]

    def entries() -> list[Any] | None:
        activity = bus.request("user-service", "get.user.activity", {"userId": 123})
        return [entry for entry in activity if entry["messageId"] == message_id] or None

    stage.eventually("the view at document-service", viewed_at)
    recorded = stage.eventually("the activity at user-service", entries)
    require(len(recorded) == 1, f"user-service recorded it {len(recorded)} times")
    return "document-service noted the view, user-service recorded it once"


STEP = Step(
    title="A broadcast reaching its subscribers",
    expected="document.viewed reaches both services that subscribed to it",
    play=_play,
)
