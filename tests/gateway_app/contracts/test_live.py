"""`bus_contracts` as a service's CI runs it: workers run, and a gateway is asked over HTTP."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.brokers import BROKERS
from tests.support.forked import run
from tests.support.http_stack import HttpStack
from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.embedded_only
SERVICE = "tests.support.contract_service"


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: Path
) -> Iterator[HttpStack]:
    folder = tmp_path_factory.mktemp("contracts")
    installation = Installation(BROKERS["sqlite"], folder, migrated_database)
    try:
        with HttpStack(installation) as stack:
            stack.start_web()
            installation.start("api-gateway", "celery", "-A", "gateway_app", "worker")
            for name in ("orders", "billing"):
                installation.start(
                    name, "celery", "-A", SERVICE, "worker", **variables(installation, name, "1.0")
                )
            yield stack
    finally:
        installation.close()


@pytest.fixture(scope="module")
def token(stack: HttpStack) -> str:
    scopes = ("--scope", "/ops/contracts.json", "--scope", "/ops/asyncapi.json")
    made = stack.installation.manage("bus_token", "create", "ci", "--never", *scopes)
    made.check_returncode()
    text = made.stdout.strip()
    headers = {"Authorization": f"Bearer {text}"}

    def running() -> list[str]:
        each = stack.client.get("/ops/contracts.json", headers=headers).json()["contracts"]
        return [one["service"] for one in each if one["accepts"] or one["sends"]]

    eventually(lambda: {"orders", "billing"} <= set(running()), 60, "both registered")
    return text


def variables(installation: Installation, name: str, version: str) -> dict[str, str]:
    journal = str(installation.journal(name).path)
    return {
        "CONTRACT_SERVICE": name,
        "CONTRACT_VERSION": version,
        "CONTRACT_JOURNAL": journal,
    }


def in_ci(
    stack: HttpStack, name: str, version: str, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """Run the command where there is neither this installation's database nor its broker."""
    installation = stack.installation
    elsewhere = installation.folder / "ci"
    elsewhere.mkdir(exist_ok=True)
    variables_ = variables(installation, name, version)
    env = installation.environment(VAR_DIR=str(elsewhere), BROKER_URL="", **variables_)
    command = ("python", "manage.py", "bus_contracts", *arguments)
    return run(*command, env=env, folder=installation.folder)


def check(
    stack: HttpStack, token: str, name: str, version: str
) -> "subprocess.CompletedProcess[str]":
    url = str(stack.client.base_url)
    return in_ci(stack, name, version, "check", SERVICE, "--gateway", url, "--token", token)


def test_a_change_that_breaks_a_running_consumer_is_exit_code_1_and_names_it(
    stack: HttpStack, token: str
) -> None:
    broken = check(stack, token, "orders", "2.0")
    assert (broken.returncode, broken.stderr) == (1, "")
    assert broken.stdout.splitlines()[0] == (
        "breaks: order.placed → billing 1.0 (handler order.*): total: is required, and is not sent"
    )
    wants_more = check(stack, token, "billing", "2.0")
    assert wants_more.returncode == 1
    assert (
        "order.placed ← orders 1.0 (handler order.*): currency: is required" in wants_more.stdout
    )
    optional = check(stack, token, "orders", "1.1")
    assert (optional.returncode, optional.stdout.count("\n")) == (0, 1), optional.stdout


def test_the_registry_at_hand_and_a_file_say_the_same(stack: HttpStack, token: str) -> None:
    installation = stack.installation
    url = f"{stack.client.base_url}/ops/contracts.json"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    saved = installation.folder / "running.json"
    saved.write_bytes(answer.content)
    exported = installation.folder / "orders.json"
    written = in_ci(stack, "orders", "2.0", "export", SERVICE, "-o", str(exported))
    assert written.returncode == 0, written.stderr
    by_file = in_ci(
        stack, "orders", "2.0", "check", str(exported), "--against", str(saved), "--json"
    )
    by_registry = installation.manage("bus_contracts", "check", str(exported), "--json")
    assert (by_file.returncode, by_registry.returncode) == (1, 1), by_registry.stderr
    said = json.loads(by_file.stdout)
    assert said == json.loads(by_registry.stdout)
    (finding,) = [each for each in said["findings"] if each["grade"] == "breaks"]
    assert (finding["service"], finding["version"]) == ("billing", "1.0")
    assert finding["field"] == "total"
    differs = installation.manage("bus_contracts", "diff", str(exported))
    assert differs.returncode == 0
    assert differs.stdout.splitlines() == [
        "orders 2.0, from 1.0: 2 differences",
        "  + sends order.placed coupon: string or null, optional",
        "  - sends order.placed total: integer",
    ]


def test_a_gateway_that_refuses_or_is_away_is_told_in_one_line(stack: HttpStack) -> None:
    url = str(stack.client.base_url)
    refused = in_ci(
        stack, "orders", "1.0", "check", SERVICE, "--gateway", url, "--token", "mbus_wrong"
    )
    assert refused.returncode == 2
    assert refused.stderr == (
        f"CommandError: --token: {url} refuses it; expected an API token with the scope "
        "/ops/contracts.json\n"
    )
    away = in_ci(stack, "orders", "1.0", "diff", SERVICE, "--gateway", "http://127.0.0.1:9")
    assert away.returncode == 1
    assert away.stderr.startswith("CommandError: http://127.0.0.1:9 does not answer: ")
    assert away.stderr.count("\n") == 1
