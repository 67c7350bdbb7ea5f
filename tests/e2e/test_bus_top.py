"""``bus_top`` on a terminal: it looks again and again, and ends with Ctrl-C."""

import os
import pty
import signal
import subprocess
import sys

import pytest

from tests.support.installation import ROOT, Installation

pytestmark = pytest.mark.embedded_only


def test_it_draws_page_after_page_until_ctrl_c(installation: Installation) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "manage.py", "bus_top", "--every", "1"],
        cwd=ROOT,
        env=installation.environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(theirs)
        try:
            shown = b""
            while shown.count(b"\x1b[H\x1b[J") < 2:
                shown += os.read(ours, 65_536)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()  # else the end of the block would wait for it for ever
    os.close(ours)
    assert b"deliveries/s" in shown
    assert b"No service has registered yet." in shown
    assert errors == "CommandError: stopped\n"
    assert process.returncode == 130
