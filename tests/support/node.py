"""Programs of Node, which run the client of clients/node."""

import os
import shutil

import pytest

from tests.support.processes import ROOT


def require_node() -> str:
    """Return the program; skip where it or what the client needs is missing, or fail there."""
    program = shutil.which("node")
    if program is not None and (ROOT / "clients/node/node_modules/amqplib").exists():
        return program
    text = "Node, or `npm ci` in clients/node, is missing"
    if os.environ.get("REQUIRE_BROKERS") == "1":
        pytest.fail(text)
    pytest.skip(text)
