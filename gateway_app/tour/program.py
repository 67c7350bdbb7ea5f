"""Plays the steps of the tour one after the other, and leaves nothing behind."""

from typing import Final

from django.conf import settings

from gateway_app.preconditions import require_broker
from gateway_app.procfile import ProcfileEntry, read_procfile
from gateway_app.stack import Stack, StackError
from gateway_app.tour.cleanup import remove_namespace
from gateway_app.tour.names import SERVICE
from gateway_app.tour.records import Records
from gateway_app.tour.sandbox import Sandbox, make_sandbox
from gateway_app.tour.screen import Screen
from gateway_app.tour.stage import Stage, Step, StepFailed
from gateway_app.tour.steps import (
    account,
    broadcast,
    broadcast_while_down,
    kill,
    request,
    retries,
    scrape,
    start,
    wipe,
)
from messaging import MessagingError, ServiceCommunicator
from messaging.clock import SYSTEM_CLOCK

#: In the order they are played; each may rely on those before it.
STEPS: Final[tuple[Step, ...]] = (
    start.STEP,
    request.STEP,
    broadcast.STEP,
    scrape.STEP,
    retries.STEP,
    broadcast_while_down.STEP,
    kill.STEP,
    wipe.STEP,
    account.STEP,
)
#: The service that the tour breaks; no part of the system.
VICTIM: Final = ProcfileEntry(SERVICE, "celery -A gateway_app.tour.service worker")

#: Processes of the Procfile that the tour has no use for.
LEFT_OUT: Final = frozenset({"flower"})


def play_tour(screen: Screen) -> bool:
    """Play all steps and return whether each saw what it expected; the first that did not ends it.

    Everything that was started is stopped, also by Ctrl-C. The folder stays after a failure, for
    its logs.
    """
    began_at = SYSTEM_CLOCK.monotonic()
    sandbox = make_sandbox()
    is_good = True
    try:
        screen.heading(
            broker=_broker_name(sandbox), folder=str(sandbox.folder), gateway=sandbox.gateway_url
        )
        is_good = _play_in(sandbox, screen)
    finally:
        if is_good:
            sandbox.remove()
    seconds = SYSTEM_CLOCK.monotonic() - began_at
    if is_good:
        screen.end(
            f"{len(STEPS)} of {len(STEPS)} steps as expected in {seconds:.1f} s; "
            "everything is stopped and cleaned up.",
            is_good=True,
        )
    else:
        screen.end(
            f"Not as expected. Everything is stopped; logs: {sandbox.log_dir}", is_good=False
        )
    return is_good


def _play_in(sandbox: Sandbox, screen: Screen) -> bool:
    communicator = ServiceCommunicator("demo", config=sandbox.config)
    entries = read_procfile(settings.BASE_DIR / "Procfile")
    stack = Stack(
        [*(entry for entry in entries if entry.name not in LEFT_OUT), VICTIM],
        directory=settings.BASE_DIR,
        log_dir=sandbox.log_dir,
        environment=sandbox.environment,
        communicator=communicator,
        gateway_url=sandbox.gateway_url,
    )
    records = Records(sandbox.database)
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
            records.prepare()
            is_good = _play_steps(stage, screen)
            screen.note("stopping everything")
    finally:
        if not sandbox.is_broker_embedded:
            remove_namespace(communicator.bus, stack.services, records.epochs())
        communicator.close()
    return is_good


def _play_steps(stage: Stage, screen: Screen) -> bool:
    for number, step in enumerate(STEPS, start=1):
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
