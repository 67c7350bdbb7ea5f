"""Addresses under ``/ops/``: each page, and the stream that keeps it current."""

from collections.abc import Iterator

from django.urls import URLPattern, path

from gateway_app.contracts import published
from gateway_app.ops import (
    dead_letter_actions,
    dead_letter_csv,
    edit,
    health_actions,
    queue_actions,
    views,
)
from gateway_app.ops.pages import PAGES
from gateway_app.ops.search import search

app_name = "ops"


def _paths() -> Iterator[URLPattern]:
    for page in PAGES:
        known = {"name": page.name}
        yield path(page.path, views.page, known, name=page.name)
        yield path(f"live/{page.name}/{page.path}", views.follow, known, name=f"{page.name}-live")


urlpatterns = [
    path("contracts.json", published.contracts_document, name="contracts-json"),
    path("asyncapi.json", published.asyncapi_document, name="asyncapi-json"),
    path("search/", search, name="search"),
    path("health/maintenance/", health_actions.begin, name="maintenance"),
    path("health/maintenance/end/", health_actions.end, name="end-maintenance"),
    path("health/check/", health_actions.check, name="check-now"),
    path("queues/pause/", queue_actions.pause_queue, name="queue-pause"),
    path("queues/resume/", queue_actions.resume_queue, name="queue-resume"),
    path("dead-letters/canary/", dead_letter_actions.canary, name="dl-canary"),
    path("dead-letters/replay-all/", dead_letter_actions.replay_all, name="dl-replay-all"),
    path("dead-letters/replay/", dead_letter_actions.replay_chosen, name="dl-replay"),
    path("dead-letters/stop/", dead_letter_actions.stop, name="dl-stop"),
    path("dead-letters/discard/", dead_letter_actions.discard, name="dl-discard"),
    path("dead-letters/restore/", dead_letter_actions.restore, name="dl-restore"),
    path("dead-letters/note/", dead_letter_actions.annotate, name="dl-note"),
    path("dead-letters/letters.csv", dead_letter_csv.letters, name="dl-csv"),
    path("dead-letters/<int:letter>/edit/", edit.edit, name="dl-edit"),
    *_paths(),
]
