"""Recurring messages in a test: time passes, and they come."""

from typing import Any

from messaging import ServiceCommunicator
from messaging.testing import Harness


def test_what_recurs_comes_as_time_passes(bus: Harness) -> None:
    billing = ServiceCommunicator("billing")
    runs: list[Any] = []

    @billing.on_message("report.create")
    def create(data: Any) -> None:
        runs.append((bus.now().minute, data))

    billing.recurring("quarterly", "report.create", {"of": "all"}, to="billing", every=900)
    bus.service(billing)
    bus.advance("1h")
    assert sorted(runs) == [(minute, {"of": "all"}) for minute in (0, 15, 30, 45)]
    assert bus.sent("report.create").times(4)
    assert not bus.unaccounted()


def test_a_broadcast_recurs_for_all(bus: Harness) -> None:
    for name in ("a", "b"):
        listener = ServiceCommunicator(name)
        listener.on_message("day.begun")(lambda _data: None)
        if name == "a":
            listener.recurring("day", "day.begun", cron="0 0 * * *", timezone="Europe/Berlin")
        bus.service(listener)
    bus.advance("48h")
    assert bus.handled("day.begun").times(4)
