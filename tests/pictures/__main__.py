"""Play the scene and take the pictures: ``python -m tests.pictures --into FOLDER``."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, sync_playwright

from gateway_app.process import stopped_by_signals
from messaging.clock import SYSTEM_CLOCK
from tests.bench.peers.bus import migrated_database
from tests.browser.chromium import ARGUMENTS, executable
from tests.browser.operator import MAKE_USERS, Operator
from tests.pictures.scene import Scene
from tests.support.brokers import BROKERS
from tests.support.http_stack import HttpStack
from tests.support.installation import ROOT, Installation

#: What is photographed: the name of the picture, and its page.
PAGES: Final = {
    "overview": "/ops/",
    "topology": "/ops/topology/",
    "queues": "/ops/queues/",
    "health": "/ops/health/",
    "dead-letters": "/ops/dead-letters/",
    "messages": "/ops/messages/",
    "routes": "/ops/routes/",
    "contracts": "/ops/contracts/",
    "doctor": "/ops/doctor/",
}
#: After a page is ready: lines are drawn, and the stream has come once.
_SETTLE_SECONDS: Final = 2.5
#: Until a killed instance is DOWN, and some more.
_AFTER_KILL_SECONDS: Final = 40.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--play", type=float, default=330.0, help="seconds of traffic before")
    options = parser.parse_args()
    found = executable()
    if found is None:
        print("no Chromium on this machine (Debian: apt-get install chromium)", file=sys.stderr)
        return 1
    options.into.mkdir(parents=True, exist_ok=True)
    with stopped_by_signals(), tempfile.TemporaryDirectory() as folder:
        installation = Installation(BROKERS["sqlite"], Path(folder), migrated_database())
        try:
            _play(installation, options.play, found, options.into)
        finally:
            installation.close()
    return 0


def _play(installation: Installation, seconds: float, chromium: str, into: Path) -> None:
    # The times of a real installation: pictures show what users see.
    times = {"heartbeat_seconds": 5.0, "suspect_seconds": 15.0, "down_seconds": 30.0}
    with HttpStack(installation, ledger="all", **times) as stack, sync_playwright() as playwright:
        stack.start()
        made = installation.manage("shell", "-c", MAKE_USERS)
        assert made.returncode == 0, made.stderr
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        context = browser.new_context(
            base_url=f"http://127.0.0.1:{stack.port}", viewport={"width": 1440, "height": 900}
        )
        operator = Operator(context.new_page(), stack)
        operator.log_in("anna")
        SYSTEM_CLOCK.sleep(_SETTLE_SECONDS)
        _photograph(operator.page, into / "first-run")
        operator.page.goto("about:blank")  # nobody looks until there is something to see
        scene = Scene(stack)
        scene.start()
        with scene.traffic():
            SYSTEM_CLOCK.sleep(seconds)
            scene.kill_one("notification-service")
            SYSTEM_CLOCK.sleep(_AFTER_KILL_SECONDS)
            for name, path in (*PAGES.items(), ("message", _a_message(operator))):
                operator.look_at(path)
                SYSTEM_CLOCK.sleep(_SETTLE_SECONDS)
                _photograph(operator.page, into / name)
            operator.look_at("/ops/")
            operator.page.set_viewport_size({"width": 390, "height": 844})
            SYSTEM_CLOCK.sleep(_SETTLE_SECONDS)
            operator.page.screenshot(path=into / "overview-narrow.png", full_page=True)
        browser.close()


def _a_message(operator: Operator) -> str:
    """Return the page of a message that was parked."""
    rows = operator.stack.installation.database().execute(
        "SELECT message_id FROM gateway_app_deadletter ORDER BY id LIMIT 1"
    )
    return f"/ops/messages/{rows.fetchone()[0]}/"


def _photograph(page: Page, picture: Path) -> None:
    for theme in ("light", "dark"):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        SYSTEM_CLOCK.sleep(0.3)
        page.screenshot(path=f"{picture}-{theme}.png")


if __name__ == "__main__":
    sys.exit(main())
