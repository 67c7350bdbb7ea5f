"""Somebody at the browser."""

from typing import Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Locator, Page, Request, expect

from tests.support.http_stack import HttpStack

#: Who logs in: somebody who may do everything, and somebody who may only look.
MAKE_USERS: Final = """
from django.contrib.auth.models import Permission, User
RIGHTS = {"anna": ["view_bus", "operate_bus", "edit_payload"], "sam": ["view_bus"]}
for name, permissions in RIGHTS.items():
    user = User.objects.create_user(name, password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
"""

SPILLING: Final = """() => [...document.querySelectorAll(".panel table")]
  .filter((table) => !table.closest(".scroll, .uplot") && table.getBoundingClientRect().right
    > table.closest(".panel").getBoundingClientRect().right + 1)
  .map((table) => table.closest(".panel").id || table.className)"""


class Operator:
    """A user in a browser. What the browser complains of is collected in `complaints`."""

    def __init__(self, page: Page, stack: HttpStack) -> None:
        self.page = page
        self.stack = stack
        self.complaints: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._on_request)

    def log_in(self, name: str) -> None:
        """Log in on the admin's page, and see the Overview."""
        self.page.goto("/ops/")
        self.page.fill("input[name=username]", name)
        self.page.fill("input[name=password]", "secret")
        self.page.click("input[type=submit]")
        self.be_ready()

    def look_at(self, path: str) -> None:
        """Open a page and wait until it is ready."""
        self.page.goto(path)
        self.be_ready()

    def be_ready(self) -> None:
        """Wait until the page listens: it is seen before that."""
        expect(self.page.locator("body")).to_have_attribute("data-ops-ready", "true")

    def press(self, key: str) -> None:
        """Press a key on a page that listens, however it was come to."""
        self.be_ready()
        self.page.keyboard.press(key)

    def get(self, test_id: str) -> Locator:
        """Return what has a test id."""
        return self.page.get_by_test_id(test_id)

    def serious_findings(self) -> list[str]:
        """Return what axe finds serious or critical on this page."""
        results = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {node['target']}: {node['html'][:200]}"
            for each in results
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def tables_that_spill(self) -> list[str]:
        """Return the tables that reach over the edge of their panel, where nobody sees them."""
        return list(self.page.evaluate(SPILLING))

    def is_wider_than_the_screen(self) -> bool:
        """Return whether the page has to be scrolled sideways."""
        return bool(
            self.page.evaluate(
                "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            )
        )

    def _on_console(self, message: ConsoleMessage) -> None:
        # What the server refuses on purpose is said there too; tests look at the answer.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((f"http://127.0.0.1:{self.stack.port}/", "data:", "blob:")):
            self.complaints.append(f"left the host: {request.url}")
