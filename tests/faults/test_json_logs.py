"""The log of a worker that writes JSON."""

import json
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.waiting import eventually


@pytest.mark.embedded_only
def test_every_line_of_a_worker_is_an_object(installation: Installation) -> None:
    installation.variables["LOG_FORMAT"] = "json"
    worker = installation.start_worker("probe")
    sender = installation.communicator()
    sender.send_to_service("probe", "fail", {"secret": "hush"}, priority="LOW")

    def lines() -> list[dict[str, Any]]:
        found = [line for line in worker.log.read_text().splitlines() if line.startswith("{")]
        return [json.loads(line) for line in found]

    parked = eventually(
        lambda: [line for line in lines() if line["event"].endswith("parked: %s: %s")]
    )
    assert parked[0]["message_type"] == "fail"
    others = [
        line
        for line in worker.log.read_text().splitlines()
        if " WARNING " in line or ("ERROR" in line and not line.startswith("{"))
    ]
    assert others == []
