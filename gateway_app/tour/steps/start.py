"""Step 1: everything starts and registers."""

from collections.abc import Sequence
from typing import Any

from gateway_app.tour.stage import Stage, Step


def start_all(stage: Stage[Any]) -> str:
    """Start everything, and return the states of the services once all are UP."""

    def report(waiting: Sequence[str]) -> None:
        stage.note(f"waiting for {', '.join(waiting)}" if waiting else "everything is up")

    stage.stack.start()
    stage.stack.wait_until_ready(report)
    states = {
        service: stage.communicator.discover(service)["state"] for service in stage.stack.services
    }
    return ", ".join(f"{service} {state}" for service, state in states.items())


STEP = Step(
    title="Gateway and three services start and register",
    expected="the gateway answers, its registry shows every service UP",
    play=start_all,
)
