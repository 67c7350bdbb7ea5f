"""The dashboard and the alert rules ask for what there is, and promtool takes them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway_app.http import metrics
from messaging import MessageBus
from tests.gateway_app.metrics_text import happen, parsed
from tests.support.installation import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

RULES = ROOT / "docs" / "alerts.yml"
DASHBOARD = ROOT / "docs" / "grafana" / "message-bus.json"
#: A metric with what it is chosen by; names of a registry's own prefixes only.
SELECTOR = re.compile(r"\b((?:bus|gateway)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPED = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


@pytest.fixture
def text(own_broker: MessageBus) -> str:
    """The metrics of a bus on which something of everything happened."""
    happen(own_broker)
    metrics.count_unauthorized("192.0.2.7")
    return metrics.render().decode()


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    assert group["name"]
    return list(group["rules"])


def panels() -> Iterator[dict[str, Any]]:
    yield from (p for p in json.loads(DASHBOARD.read_text())["panels"] if p["type"] != "row")


def of_dashboard() -> list[str]:
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [each.replace("$__rate_interval", "5m") for each in found]


def expressions() -> list[str]:
    return of_dashboard() + [rule["expr"] for rule in rules()]


def test_dashboard_and_rules_ask_for_metrics_and_labels_that_there_are(text: str) -> None:
    labels: dict[str, set[str]] = {}
    for name, of_sample in parsed(text):
        labels.setdefault(name, set()).update(label for label, _ in of_sample)
    of_scrape = {"instance"}  # Prometheus adds it
    for expression in expressions():
        asked = SELECTOR.findall(expression)
        assert asked, expression
        for name, matchers in asked:
            assert name in labels, f"{name} in {expression}"
            assert set(MATCHER.findall(matchers)) <= labels[name], expression
        grouped = {
            each.strip() for group in GROUPED.findall(expression) for each in group.split(",")
        }
        assert grouped <= set.union(of_scrape, *(labels[name] for name, _ in asked)), expression


def test_stored_metrics_are_not_added_up_over_gateway_processes() -> None:
    """Each tells the same; a sum would be too much by their number."""
    for expression in expressions():
        for name, _ in SELECTOR.findall(expression):
            if name.startswith("bus_"):
                assert re.search(r"\bmax(?: by \([^)]*\))? ?\(|^absent\(", expression), expression


def test_every_rule_says_what_it_means_and_how_bad_it_is() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    page = (ROOT / "docs" / "monitoring.md").read_text()
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert f"`{rule['alert']}`" in page
    assert set(re.findall(r"`((?:Bus|Gateway)[A-Z]\w+)`", page)) == set(names)


def test_every_metric_is_on_the_page_and_the_page_names_no_other(text: str) -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    told = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    named = set(re.findall(r"`((?:bus|gateway)_[a-z_]+)(?:\{[^`]*)?`", page))
    assert named == {name for name in told if not name.endswith("_created")}


def test_promtool_takes_rules_and_metrics(text: str, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing = "promtool is missing (Debian package: prometheus)"
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    # Expressions of the dashboard, as rules that record them.
    recorded = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$service\b", ".*", each)}
        for number, each in enumerate(of_dashboard())
    ]
    board = tmp_path / "dashboard.yml"
    board.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    for arguments, said in (
        (["check", "rules", "--lint-fatal", str(RULES)], None),
        (["check", "rules", str(board)], None),
        (["check", "metrics"], text),
        (["test", "rules", str(ROOT / "tests" / "gateway_app" / "alert_cases.yml")], None),
    ):
        done = subprocess.run(
            [promtool, *arguments], input=said, capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = json.loads(DASHBOARD.read_text())
    assert board["title"]
    assert board["uid"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    variables = {each["name"] for each in board["templating"]["list"]}
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            used = set(re.findall(r"\$(?!__)(\w+)", target["expr"]))
            assert used <= variables
