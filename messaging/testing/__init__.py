"""Tests of services in milliseconds: the harness, and what it tells. See ``docs/testing.md``.

::

    def test_an_invoice_is_tried_again(bus):  # the fixture of messaging.testing.plugin
        bus.service(billing)
        bus.send("billing", "invoice.create", {"id": 7})
        bus.advance("1h")
        assert bus.handled("invoice.create").once

Services run in the test's own thread, through the code of production: codec and signatures,
dispatch, receiver, retries, outbox and inbox, relay, dead letters. In place of the real ones are
the broker (in memory), the clock, and the threads of workers. Nothing but tests imports this.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from messaging.testing.facts import Fact, FactKind
    from messaging.testing.found import Found
    from messaging.testing.harness import Harness
    from messaging.testing.stepped import HarnessError

__all__ = ["Fact", "FactKind", "Found", "Harness", "HarnessError"]

_HOMES = {
    "Fact": "facts",
    "FactKind": "facts",
    "Found": "found",
    "Harness": "harness",
    "HarnessError": "stepped",
}


def __getattr__(name: str) -> Any:
    """Import late: pytest loads the plugin, and so this package, before Django is set up."""
    import importlib

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
