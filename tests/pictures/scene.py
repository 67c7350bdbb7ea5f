"""The scene: a stack, its services, and traffic that comes as long as it is played."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from messaging.clock import SYSTEM_CLOCK
from tests.support.http_stack import HttpStack
from tests.support.processes import Process
from tests.support.waiting import eventually

#: Instances of each service, and its version.
CAST: Final = {
    "scraper-service": (2, "1.4.0"),
    "document-service": (3, "2.0.1"),
    "user-service": (2, "1.4.0"),
    "billing-service": (2, "2.3.1"),
    "notification-service": (2, "1.1.0"),
}
#: Pause of each client between two requests.
_PAUSE_SECONDS: Final = 0.25


class Scene:
    """Services that run in an installation, and clients that keep them busy."""

    def __init__(self, stack: HttpStack) -> None:
        self._stack = stack
        self._stopped = threading.Event()
        self.instances: dict[str, list[Process]] = {}

    def start(self) -> None:
        """Start every service; on return all of them are in the registry."""
        for name, (count, version) in CAST.items():
            self._stack.installation._services.add(name)
            self.instances[name] = [
                self._stack.installation.start(
                    f"{name}-{number}",
                    *("celery", "-A", "tests.pictures.service", "worker"),
                    SCENE_SERVICE=name,
                    SCENE_VERSION=version,
                    # One at a time, so that the slow one is too slow.
                    MESSAGING_WORKER_CONCURRENCY="1",
                )
                for number in range(count)
            ]
        expected = sum(count for count, _ in CAST.values()) + 1
        eventually(lambda: self._count_up() == expected, 180, "every instance is UP")

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Have clients ask through the gateway for the length of a ``with`` block."""
        asks = (self._ask_users, self._render, self._scrape)
        threads = [threading.Thread(target=self._run, args=(ask,)) for ask in asks]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def kill_one(self, name: str) -> None:
        """Kill the last instance of a service."""
        self.instances[name][-1].kill()

    def _count_up(self) -> int:
        rows = self._stack.installation.database().execute(
            "SELECT count(*) FROM gateway_app_serviceinstance WHERE state = 'UP'"
        )
        return int(rows.fetchone()[0])

    def _run(self, ask: Callable[[httpx.Client, int], None]) -> None:
        number = 0
        with httpx.Client(base_url=self._stack.client.base_url, trust_env=False) as client:
            while not self._stopped.wait(_PAUSE_SECONDS):
                number += 1
                try:
                    ask(client, number)
                except httpx.HTTPError:
                    # The scene goes on; what fails is on the pages.
                    SYSTEM_CLOCK.sleep(_PAUSE_SECONDS)

    @staticmethod
    def _ask_users(client: httpx.Client, number: int) -> None:
        for user in range(3):
            client.get(f"/api/users/{number + user}")

    @staticmethod
    def _render(client: httpx.Client, number: int) -> None:
        client.get(f"/api/documents/{number}")

    @staticmethod
    def _scrape(client: httpx.Client, number: int) -> None:
        client.post("/api/zones", json={"number": number}, headers={"Prefer": "respond-async"})
