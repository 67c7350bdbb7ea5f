import sys

import pytest

from gateway_app.doctor import examine
from gateway_app.doctor.layers import LAYERS
from gateway_app.ops import doctor, paced
from gateway_app.ops.paced import Paced, PacedBy


@pytest.fixture(autouse=True)
def _nothing_was_read_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages read anew what they pace, and wait for it however busy the machine is."""
    monkeypatch.setattr(paced, "FIRST_SECONDS", 10.0)
    # The others write, and wait for the transaction that a test runs in.
    still = tuple(layer for layer in LAYERS if layer.name in ("settings", "files"))
    monkeypatch.setattr(doctor, "_findings", Paced(lambda: examine(still), doctor.EVERY_SECONDS))
    modules = [
        module for name, module in sys.modules.items() if name.startswith("gateway_app.ops")
    ]
    for value in (value for module in modules for value in vars(module).values()):
        if isinstance(value, Paced | PacedBy):
            value.__init__(value._read, value._least_seconds)
