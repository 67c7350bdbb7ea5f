"""A service whose handlers write down what they do; run by `celery -A tests.support.probe worker`.

PROBE_SERVICE names it, PROBE_PATTERNS lists what else it subscribes to, PROBE_JOURNAL is its file.
PROBE_SLOWLY makes each take so many seconds. PROBE_HANGS gives it a health check that never ends,
PROBE_BROKEN a mistake in one handler. PROBE_RECURS has it sent `work` every so many seconds.
"""

import os
from pathlib import Path
from typing import Any

import django

django.setup()

from celery.signals import worker_ready  # noqa: E402
from celery.worker.control import control_command  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from messaging import Envelope, Reject, Retry, RetryPolicy, ServiceCommunicator  # noqa: E402
from messaging.clock import SYSTEM_CLOCK  # noqa: E402
from tests.support.journal import Journal  # noqa: E402

journal = Journal(Path(os.environ["PROBE_JOURNAL"]))
communicator = ServiceCommunicator(os.environ["PROBE_SERVICE"], version="1.2.3")


#: The worker's consumer, once it is ready.
consumers: list[Any] = []


@worker_ready.connect
def on_ready(sender: Any, **_: Any) -> None:
    consumers.append(sender)
    journal.write(event="ready")


@control_command(args=[("takes", bool)])
def probe_consume(state: Any, takes: bool) -> dict[str, str]:
    """Stop taking messages as if something had gone wrong, or take them again."""
    queue = state.app.conf.task_default_queue
    if takes:
        state.consumer.add_task_queue(queue)
    else:
        state.consumer.cancel_task_queue(queue)
    return {"ok": queue}


if "PROBE_HANGS" in os.environ:

    @communicator.health_check("hangs", every=1.0)
    def hang() -> None:
        journal.write(event="check")
        SYSTEM_CLOCK.sleep(3600)

    @communicator.health_check("passes", every=1.0)
    def pass_by() -> None:
        pass


def record(data: Any, message: Envelope) -> None:
    """Note a message; `seconds` in its data makes the handler slow."""
    journal.write(
        event="begun",
        id=message.id,
        type=message.type,
        data=data,
        priority=message.priority,
        attempt=message.attempt,
        at=SYSTEM_CLOCK.now(),
        correlation_id=message.correlation_id,
        causation_id=message.causation_id,
        headers=dict(message.headers),
    )
    seconds = os.environ.get("PROBE_SLOWLY") or (
        data.get("seconds") if isinstance(data, dict) else None
    )
    if seconds:
        SYSTEM_CLOCK.sleep(float(seconds))
    journal.write(event="handled", id=message.id, type=message.type, data=data)


for pattern in filter(None, os.environ.get("PROBE_PATTERNS", "work").split(",")):
    communicator.on_message(pattern)(record)


if "PROBE_RECURS" in os.environ:
    communicator.recurring(
        "tick", "work", to=communicator.name, every=float(os.environ["PROBE_RECURS"])
    )


@communicator.on_message("echo")
def echo(data: Any) -> Any:
    return data


@communicator.on_message("echo.async")
async def echo_async(data: Any, message: Envelope) -> Any:
    return {"data": data, "type": message.type}


@communicator.on_message("answer.early")
def answer_early(data: Any, message: Envelope) -> str:
    communicator.respond(message, {"early": data})
    return "ignored"


@communicator.on_message("unwritable")
def unwritable(_data: Any) -> Any:
    return object()


@communicator.on_message("fail")
def fail(data: Any) -> None:
    raise ValueError(data)


@communicator.on_message("fail.twice", retry=RetryPolicy(immediate=1, delayed=2, base_seconds=1.0))
def fail_twice(data: Any, message: Envelope) -> None:
    journal.write(event="attempt", id=message.id, attempt=message.attempt)
    if message.attempt < 3:
        raise ValueError("not yet")


@communicator.on_message("invoice.create", retry=RetryPolicy(immediate=1, delayed=0))
def create_invoice(data: Any, message: Envelope) -> None:
    if "PROBE_BROKEN" in os.environ:
        raise KeyError("vat_rate")
    journal.write(event="handled", id=message.id, type=message.type, data=data)


@communicator.on_message("reject")
def reject(data: Any) -> None:
    raise Reject("this will never do")


@communicator.on_message("of.friends", senders=("friend",))
def of_friends(data: Any, message: Envelope) -> str:
    journal.write(event="handled", id=message.id, type=message.type, data=data)
    return "for friends"


class Order(BaseModel):
    count: int
    note: str = ""


@communicator.on_message("order", schema=Order)
def order(wanted: Order) -> dict[str, Any]:
    return {"count": wanted.count, "note": wanted.note}


@communicator.on_message("wedge")
def wedge(_data: Any) -> None:
    """Have the worker's event loop stand still from now on, while everything else goes on."""
    consumers[0].loop_calls.call(lambda: SYSTEM_CLOCK.sleep(3600))


@communicator.on_message("again")
def again(data: Any, message: Envelope) -> None:
    journal.write(event="attempt", id=message.id, attempt=message.attempt)
    if message.attempt == 1:
        raise Retry(0.2)


@communicator.on_message("send")
def send(data: Any) -> str:
    """Send something from inside a handler, with whatever options the data names."""
    journal.write(event="sent", at=SYSTEM_CLOCK.now())
    return communicator.send_to_service(
        data["target"], data["type"], data.get("data"), **data.get("options", {})
    )


@communicator.on_message("ask")
def ask(data: Any) -> Any:
    """Ask another service from inside a handler."""
    return communicator.request(data["target"], data["type"], data.get("data"))


app = communicator.celery_app
