"""Sends until it is told to stop: `python -m tests.soak.traffic`, or a flood and no more.

SOAK_NOTEBOOK is its file, SOAK_GATEWAY the URL of the gateway, SOAK_FLOOD how many LOW messages
make the flood; without it the steady traffic is sent, SOAK_RATE messages a second, until TERM.
"""

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import django

django.setup()

import httpx  # noqa: E402
from django.db import DatabaseError  # noqa: E402

from messaging import MessagingError, ServiceCommunicator  # noqa: E402
from messaging.clock import SYSTEM_CLOCK  # noqa: E402
from tests.soak.names import ECHO, HAPPENED, ONCE, PLAIN, SERVICES, TOLD  # noqa: E402
from tests.soak.records import Notebook, Sending  # noqa: E402

PRIORITIES: Final = ("CRITICAL", "NORMAL", "HIGH", "LOW")
#: Of ten messages. Each has a thread: who waits for an answer holds up nobody else.
SHARES: Final = {"command": 5, "event": 1, "request": 2, "http": 1, "respond-async": 1}
_ANSWER_SECONDS: Final = 5.0


class WrongAnswer(Exception):
    """An answer to another question."""


class Traffic:
    def __init__(self, notebook: Notebook, gateway: str) -> None:
        self._notebook = notebook
        self._communicator = ServiceCommunicator("sender")
        self._client = httpx.Client(base_url=gateway, trust_env=False, timeout=_ANSWER_SECONDS + 3)
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def flood(self, count: int) -> None:
        """Send so many LOW messages as fast as they are taken."""
        for number, service in zip(range(count), itertools.cycle(SERVICES), strict=False):
            if self._stopped.is_set():
                break
            data = {"number": f"flood-{os.getpid()}-{number}", "quick": True}
            self._note("command", service, "LOW", data, self._command)

    def run(self, rate: float) -> None:
        """Send everything at its share of the rate until it is stopped."""
        pace = rate / sum(SHARES.values())
        ways = {
            "command": self._command,
            "event": self._event,
            "request": self._request,
            "http": self._http,
            "respond-async": self._respond_async,
        }
        threads = [
            threading.Thread(target=self._repeat, args=(how, ways[how], pace * share))
            for how, share in SHARES.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def close(self) -> None:
        self._client.close()
        self._communicator.close()

    def _repeat(self, how: str, way: "Way", rate: float) -> None:
        turns = zip(itertools.count(), _every_pair(), strict=False)
        next_at = SYSTEM_CLOCK.monotonic()
        for number, (service, priority) in turns:
            next_at = max(next_at + 1 / rate, SYSTEM_CLOCK.monotonic())
            if self._stopped.wait(next_at - SYSTEM_CLOCK.monotonic()):
                return
            data = {"number": f"{how}-{os.getpid()}-{number}"}
            if how == "event":
                service, priority = "", PRIORITIES[number % 2]
            self._note(how, service, priority, data, way)

    def _note(
        self, how: str, service: str, priority: str, data: dict[str, Any], way: "Way"
    ) -> None:
        begun_at = SYSTEM_CLOCK.now()
        message_id, error, text = "", "", ""
        try:
            message_id = way(service, priority, data)
        except (MessagingError, DatabaseError, httpx.HTTPError, WrongAnswer) as exc:
            error, text = type(exc).__name__, str(exc)[:300]
            if isinstance(exc, httpx.HTTPError):
                answer = getattr(exc, "response", None)
                error = f"HTTP {answer.status_code}" if answer is not None else f"HTTP {error}"
        self._notebook.write(
            Sending(
                number=data["number"],
                how=how,
                service=service,
                priority=priority,
                begun_at=begun_at,
                ended_at=SYSTEM_CLOCK.now(),
                message_id=message_id,
                error=error,
                text=text,
            )
        )

    def _command(self, service: str, priority: str, data: dict[str, Any]) -> str:
        message_type = ONCE if priority == "CRITICAL" else PLAIN
        return self._communicator.send_to_service(service, message_type, data, priority=priority)

    def _event(self, _service: str, priority: str, data: dict[str, Any]) -> str:
        message_type = HAPPENED if priority == "CRITICAL" else TOLD
        return self._communicator.broadcast(message_type, data, priority=priority)

    def _request(self, service: str, priority: str, data: dict[str, Any]) -> str:
        answer = self._communicator.request(
            service, ECHO, data, timeout=_ANSWER_SECONDS, priority=priority
        )
        return _checked(answer, data)

    def _http(self, service: str, _priority: str, data: dict[str, Any]) -> str:
        answer = self._client.post(f"/api/{service}/echo", json=data)
        return _checked(answer.raise_for_status().json(), data)

    def _respond_async(self, service: str, priority: str, data: dict[str, Any]) -> str:
        headers = {"Prefer": "respond-async", "Message-Priority": priority}
        answer = self._client.post(f"/api/{service}/once", json=data, headers=headers)
        return str(answer.raise_for_status().json()["id"])


#: Sends one message; returns its id, or nothing where an answer was all that was wanted.
Way = Callable[[str, str, dict[str, Any]], str]


def _checked(answer: Any, wanted: Any) -> str:
    if answer != wanted:
        raise WrongAnswer(f"{answer!r:.100} instead of {wanted!r:.100}")
    return ""


def _every_pair() -> Iterator[tuple[str, str]]:
    return itertools.cycle(itertools.product(SERVICES, PRIORITIES))


def main() -> None:
    with Notebook(Path(os.environ["SOAK_NOTEBOOK"])) as notebook:
        traffic = Traffic(notebook, os.environ["SOAK_GATEWAY"])
        signal.signal(signal.SIGTERM, lambda *_: traffic.stop())
        flood = int(os.environ.get("SOAK_FLOOD", "0"))
        if flood:
            traffic.flood(flood)
        else:
            traffic.run(float(os.environ["SOAK_RATE"]))
        traffic.close()


main()
