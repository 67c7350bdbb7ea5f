"""Plays steps one after the other on a private stack, and leaves nothing behind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from django.conf import settings

from gateway_app.preconditions import require_broker
from gateway_app.procfile import ProcfileEntry
from gateway_app.stack import Stack, StackError, instances_by
from gateway_app.tour.cleanup import remove_namespace
from gateway_app.tour.sandbox import Sandbox, make_sandbox
from gateway_app.tour.screen import Screen
from gateway_app.tour.stage import L, Stage, Step, StepFailed
from messaging import MessagingError, ServiceCommunicator
from messaging.clock import SYSTEM_CLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Play(Generic[L]):
    """Steps, and what they are played with.

    The processes run in the project's folder, ``settings.BASE_DIR``, whose settings take VAR_DIR,
    DATABASE_URL, BROKER_URL, MESSAGING_… and GATEWAY_PORT from the environment.
    """

    #: A valid service name: whose the folder and the messages are.
    name: str
    #: For people.
    title: str
    #: In the order they are played; each may rely on those before it.
    steps: Sequence[Step[L]]
    #: The processes; the first step starts them.
    entries: Sequence[ProcfileEntry]
    #: Returns what looks into the database at a path.
    records_at: Callable[[Path], L]
    #: Is done to a fresh database.
    prepare: Callable[[L], object]


def play(played: Play[L], screen: Screen) -> bool:
    """Play all steps and return whether each saw what it expected; the first that did not ends it.

    Everything that was started is stopped, also by Ctrl-C. The folder stays after a failure, for
    its logs.
    """
    began_at = SYSTEM_CLOCK.monotonic()
    sandbox = make_sandbox(played.name)
    is_good = True
    try:
        screen.heading(
            played.title,
            broker=_broker_name(sandbox),
            folder=str(sandbox.folder),
            gateway=sandbox.gateway_url,
        )
        is_good = _play_in(sandbox, played, screen)
    finally:
        if is_good:
            sandbox.remove()
    seconds = SYSTEM_CLOCK.monotonic() - began_at
    if is_good:
        count = len(played.steps)
        screen.end(
            f"{count} of {count} steps as expected in {seconds:.1f} s; "
            "everything is stopped and cleaned up.",
            is_good=True,
        )
    else:
        screen.end(
            f"Not as expected. Everything is stopped; logs: {sandbox.log_dir}", is_good=False
        )
    return is_good


def _play_in(sandbox: Sandbox, played: Play[L], screen: Screen) -> bool:
    communicator = ServiceCommunicator(played.name, config=sandbox.config)
    stack = Stack(
        played.entries,
        directory=settings.BASE_DIR,
        log_dir=sandbox.log_dir,
        environment=sandbox.environment,
        instances=instances_by(communicator),
        gateway_url=sandbox.gateway_url,
    )
    records = played.records_at(sandbox.database)
    stage = Stage(
        stack=stack,
        communicator=communicator,
        sandbox=sandbox,
        records=records,
        note=screen.note,
    )
    require_broker(communicator.bus)
    try:
        with stack:
            screen.note("making the database")
            sandbox.migrate()
            played.prepare(records)
            is_good = _play_steps(played.steps, stage, screen)
            screen.note("stopping everything")
    finally:
        if not sandbox.is_broker_embedded:
            remove_namespace(communicator.bus, stack.services, records.epochs())
        communicator.close()
    return is_good


def _play_steps(steps: Sequence[Step[L]], stage: Stage[L], screen: Screen) -> bool:
    for number, step in enumerate(steps, start=1):
        screen.begin(number, step.title, step.expected)
        began_at = SYSTEM_CLOCK.monotonic()
        try:
            seen = step.play(stage)
        except Exception as exc:
            # Whatever it is, the step did not see what it expected; the logs tell the rest.
            screen.failed(_text(exc), SYSTEM_CLOCK.monotonic() - began_at)
            for process in stage.stack.processes.values():
                screen.log(process.name, process.log_tail())
            return False
        screen.passed(seen, SYSTEM_CLOCK.monotonic() - began_at)
    return True


def _text(error: Exception) -> str:
    if isinstance(error, StepFailed | StackError | MessagingError):
        return str(error).partition("\n")[0]
    return f"{type(error).__name__}: {error}"


def _broker_name(sandbox: Sandbox) -> str:
    if sandbox.is_broker_embedded:
        return "embedded (SQLite file)"
    return f"{sandbox.config.broker_url.partition('://')[0]}, namespace {sandbox.config.namespace}"
