"""`bus_contracts` with wrong input, and with what cannot be told."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gateway_app.management.commands import bus_contracts
from messaging.contracts.contract import Accepted, Contract, SentMessage
from tests.gateway_app.test_commands import typed

pytestmark = pytest.mark.django_db
KNOWN = "services.user"


def call(*arguments: str) -> str:
    out = StringIO()
    call_command("bus_contracts", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["check", "no.such.module"], "expected a module of a service"),
        (["check", "messaging.errors"], "expected one ServiceCommunicator, got 0"),
        (["check", "services.user:app"], "expected one ServiceCommunicator"),
        (["check", KNOWN, "--against", "absent.json"], r"absent\.json: expected a JSON file"),
        (["check", KNOWN, "--against", "list.json"], "expected a contract"),
        (["check", "list.json"], "expected a contract"),
        (["check", "two.json"], "expected the contract of one service, got 2"),
        (["check", KNOWN, "--gateway", "ftp://x"], "expected a URL such as"),
        (["check", KNOWN, "--gateway", "http://x", "--token-file", "absent"], "--token-file"),
        (["export", KNOWN, "-o", "no/such/folder"], "--output: cannot be written"),
    ],
)
def test_wrong_input_is_exit_code_2_and_one_line(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.json").write_text("[{}]")
    contract = Contract(service="a", version="1").to_json()
    Path("two.json").write_text(json.dumps([contract, contract]))
    with pytest.raises(CommandError, match=expected) as caught:
        call(*arguments)
    assert caught.value.returncode == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [[], ["check"], ["check", KNOWN, "--against", "x", "--gateway", "y"], ["sing"]]
)
def test_wrong_words_are_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        typed(bus_contracts.Command, *arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_cannot_be_told_is_exit_code_1_unless_that_is_passed(tmp_path: Path) -> None:
    odd: dict[str, Any] = {"type": "object", "properties": {}, "not": {"required": ["x"]}}
    new = Contract(service="b", version="2", accepts={"t": Accepted(odd)})
    sender = Contract(service="a", version="1", sends=(SentMessage("t", "b", {"type": "object"}),))
    checked, running = tmp_path / "new.json", tmp_path / "running.json"
    checked.write_text(new.to_text())
    running.write_text(json.dumps({"contracts": [sender.to_json()]}))
    arguments = ("check", str(checked), "--against", str(running))
    with pytest.raises(SystemExit) as caught:
        call(*arguments)
    assert caught.value.code == 1
    said = call(*arguments, "--pass-unknown").splitlines()
    assert said == [
        "cannot tell: t ← a 1 (handler t): not is not understood",
        "b 2, against 1 running: 0 would break, 1 cannot be told.",
    ]


def test_the_services_of_this_project_fit_each_other(tmp_path: Path) -> None:
    names = ("document", "scraper", "user")
    each = [json.loads(call("export", f"services.{name}")) for name in names]
    running = tmp_path / "running.json"
    running.write_text(json.dumps(each))
    for name in names:
        said = call("check", f"services.{name}", "--against", str(running))
        assert "0 would break, 0 cannot be told" in said
