"""A very short soak: `make soak` runs a long one, with every fault and on every broker."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

FAULTS = ("worker killed", "web killed", "flood")


def ended_faults(folder: Path) -> set[str]:
    record = folder / "faults.jsonl"
    lines = record.read_text().splitlines() if record.exists() else []
    entries = [json.loads(line) for line in lines]
    return {entry["fault"] for entry in entries if entry["phase"] == "end"}


@pytest.mark.long
@pytest.mark.embedded_only
def test_a_soak_that_is_stopped_by_ctrl_c_reports_that_every_promise_was_kept(
    installation: Installation,
) -> None:
    folder, flood = installation.folder / "soak", 200
    command = (sys.executable, "-m", "tests.soak", "--minutes", "60", "--folder", str(folder))
    soak = Process(
        *(*command, "--faults", ",".join(FAULTS), "--flood", str(flood), "--calm", "3"),
        env=dict(os.environ),
        log=installation.folder / "soak.log",
    )
    try:
        eventually(lambda: ended_faults(folder) == set(FAULTS) or not soak.is_running(), 200)
        soak.signal(signal.SIGINT)
        code = soak.wait(200)
    finally:
        soak.stop()
    text = soak.log.read_text()
    assert code == 0, text[-5000:]
    found = json.loads((folder / "soak-report.json").read_text())
    assert found["is_good"]
    assert {fault["name"] for fault in found["faults"]} == set(FAULTS)
    assert found["accepted"] > flood
    assert found["effects"] > flood
    assert found["account"]["handled"] == found["account"]["accepted"] > 0
    assert "network cut" in found["left_out"]
    assert "web killed" in (folder / "soak.svg").read_text()
    assert "asked to stop" in text
    assert "BROKEN" not in text
