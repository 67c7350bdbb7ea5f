"""How a play ends: its steps here need no process."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management.base import OutputWrapper
from django.core.management.color import no_style

from gateway_app.tour import sandbox
from gateway_app.tour.command import PlayCommand
from gateway_app.tour.playing import Play, play
from gateway_app.tour.records import Looks
from gateway_app.tour.screen import Screen
from gateway_app.tour.stage import Stage, Step, StepFailed


def step(seen: str, error: Exception | None = None) -> Step[Looks]:
    def do(_stage: Stage[Looks]) -> str:
        if error is not None:
            raise error
        return seen

    return Step(title="A step", expected="nothing", play=do)


def a_play(*steps: Step[Looks]) -> Play[Looks]:
    return Play(
        name="trial",
        title="A trial",
        steps=steps,
        entries=[],
        records_at=Looks,
        prepare=lambda looks: looks.ask("CREATE TABLE prepared (id INTEGER)"),
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where folders of plays are made. Their database is not what this is about."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sandbox.Sandbox, "migrate", lambda _self: None)
    return tmp_path


def played(play_: Play[Looks]) -> tuple[bool, str]:
    out = io.StringIO()
    return play(play_, Screen(OutputWrapper(out), no_style())), out.getvalue()


def test_all_steps_as_expected_leave_no_folder(folder: Path) -> None:
    is_good, text = played(a_play(step("one"), step("two")))
    assert is_good
    assert text.startswith("A trial\n")
    assert text.count("    ok in ") == 2
    assert "2 of 2 steps as expected" in text
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "told"),
    [(StepFailed("3 effects\nand more"), "3 effects"), (KeyError("x"), "KeyError: 'x'")],
)
def test_the_first_step_that_fails_ends_it_and_the_logs_stay(
    folder: Path, error: Exception, told: str
) -> None:
    is_good, text = played(a_play(step("one"), step("", error), step("three")))
    assert not is_good
    assert f"seen      {told}\n    FAILED after" in text
    assert "three" not in text
    (kept,) = folder.iterdir()
    assert (kept / "log").is_dir()
    assert f"logs: {kept / 'log'}" in text


@pytest.fixture
def level() -> Iterator[None]:
    """The level of the bus's log, which the command sets for its process."""
    logger = logging.getLogger("messaging")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.mark.usefixtures("level")
def test_the_command_ends_with_exit_code_1_then(folder: Path) -> None:
    class Command(PlayCommand):
        def what_is_played(self) -> Play[Looks]:
            return a_play(step("", StepFailed("something else")))

    with pytest.raises(SystemExit) as ended:
        Command(stdout=io.StringIO()).handle()
    assert ended.value.code == 1
