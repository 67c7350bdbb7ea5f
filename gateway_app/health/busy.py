"""Services that give no answer because they have no time for it, told from those that are dead."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from gateway_app.health.load import Load
from gateway_app.health.message_checks import Result
from gateway_app.health.wedged import Look
from gateway_app.models import ServiceInstance, State

#: Deliveries since the last round that may be health checks: that round's and this one's.
_CHECKS: Final = 2


def busy(
    answers: Mapping[str, Result],
    heard: Iterable[ServiceInstance],
    before: Mapping[str, Look],
) -> dict[str, Result]:
    """Return a better result for services that gave no answer because they are busy, by name.

    That is those with an instance that has no handler free, or took messages since the last round:
    a check waits behind them also where short handlers follow each other on one thread.

    Args:
        answers: by name of the service.
        heard: instances that are heard of, with what their last heartbeats said.
        before: what the last round saw, by instance id.
    """
    silent = {
        name
        for name, result in answers.items()
        if result.is_check and result.state is State.SUSPECT and result.seconds is None
    }
    full: defaultdict[str, int] = defaultdict(int)
    taking: set[str] = set()
    for each in heard:
        name = each.service.name
        load = Load.of(each.load_json) if name in silent and not each.wedged else None
        if load is None:
            continue
        if load.is_full:
            full[name] += load.capacity
        last = before.get(each.instance_id)
        if last is not None and load.consumed > last.consumed + _CHECKS:
            taking.add(name)
    causes = dict.fromkeys(taking, "busy: takes other messages")
    causes |= {name: f"busy: {count} of {count} handlers running" for name, count in full.items()}
    return {name: Result(State.UP, cause, is_check=True) for name, cause in causes.items()}
