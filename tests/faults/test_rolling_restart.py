"""Every process is restarted in turn, twice, under load: nobody sees it.

As docs/upgrading.md has it: workers, web and beats of the gateway, then the services; TERM, wait,
start, wait until it is ready, which an instance with HTTP routes is once the registry has it UP. A
web process is taken out of the balancer first.
"""

import itertools
import json
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

import httpx
import pytest

from gateway_app.preconditions import free_port
from messaging import probe
from tests.faults.conftest import Ledger
from tests.support.balancer import Balancer
from tests.support.http_stack import FAST, SERVICE
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.embedded_only]

ROUNDS = 2
PAUSE_SECONDS = 0.1
#: Starts take the machine's time: who is slow for it is not dead.
PATIENT = {
    "suspect_seconds": 10.0,
    "down_seconds": 20.0,
    "request_timeout_seconds": 15.0,
    "http_timeout_seconds": 15.0,
}
#: So long an instance is still sent requests after its goodbye: the registry is read every second.
LINGER_SECONDS = 2.5
#: Durable orders have ids from here on, so that they can be told from those that are asked for.
DURABLE = 1_000_000


class Member(NamedTuple):
    """One process of the installation, and how it is started anew."""

    start: Callable[[], Process]
    is_ready: Callable[[Process], bool]
    #: Of a web process.
    port: int = 0


class Fleet:
    """All processes, and the balancer in front of the gateway's."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._database = installation.database()
        ports = [free_port(), free_port()]
        self.balancer = Balancer(ports)
        celery = ("celery", "-A")
        self._members = [
            *[self._worker("api-gateway", *celery, "gateway_app", "worker") for _ in range(2)],
            *[self._web(port) for port in ports],
            *[self._beat() for _ in range(2)],
            *[self._instance() for _ in range(2)],
            *[
                self._worker(
                    name, *celery, "tests.support.effects", "worker", EFFECTS_SERVICE=name
                )
                for name in ("counter", "counter", "listener", "listener")
            ],
        ]
        self.processes: list[Process] = []

    def start(self) -> Self:
        self.processes = [member.start() for member in self._members]
        for member, process in zip(self._members, self.processes, strict=True):
            _wait_ready(member, process)
        return self

    def restart_each(self) -> None:
        """Restart one after the other; at no time is there more than one that is away."""
        for number, member in enumerate(self._members):
            if member.port:
                self.balancer.take_out(member.port)
            process = self.processes[number]
            assert process.is_running(), process.log.read_text()[-3000:]
            # By itself; uvicorn then ends by the signal that it was told to end by.
            assert process.stop() in (0, -signal.SIGTERM), process.log.read_text()[-3000:]
            self.processes[number] = member.start()
            _wait_ready(member, self.processes[number])
            if member.port:
                self.balancer.put_in(member.port)

    def _worker(self, service: str, *command: str, **env: str) -> Member:
        self._installation._services.add(service)
        return Member(
            lambda: self._installation.start(service, *command, **env),
            lambda process: self._consumes(service, process),
        )

    def _instance(self) -> Member:
        port, known = free_port(), set[str]()
        plain = self._worker(
            SERVICE,
            *("celery", "-A", "tests.support.web_instance", "worker"),
            WEB_SERVICE=SERVICE,
            WEB_PORT=str(port),
            WEB_JOURNAL=str(self._installation.journal(SERVICE).path),
            WEB_LINGER_SECONDS=str(LINGER_SECONDS),
        )

        def start() -> Process:
            known.update(self._known_at(port))
            return plain.start()

        # Consuming is not enough: the next one goes when the gateway knows of this one.
        return Member(start, lambda _process: bool(self._known_at(port) - known))

    def _known_at(self, port: int) -> set[str]:
        """Return the ids of the instances at a port that requests are sent to."""
        rows = self._database.execute(
            "SELECT instance_id FROM gateway_app_serviceinstance"
            " WHERE port = ? AND state = 'UP' AND left_at IS NULL",
            (port,),
        )
        return {instance_id for (instance_id,) in rows}

    def _web(self, port: int) -> Member:
        command = ("uvicorn", "gateway_app.asgi:application", "--port", str(port))
        options = ("--no-access-log", "--timeout-graceful-shutdown", "5")
        return Member(
            lambda: self._installation.start("web", *command, *options),
            lambda _process: _is_web_ready(port),
            port,
        )

    def _beat(self) -> Member:
        return Member(
            lambda: self._installation.start("beat", "celery", "-A", "gateway_app", "beat"),
            lambda process: process.is_running(),
        )

    def _consumes(self, service: str, process: Process) -> bool:
        pulses = probe.living(str(self._installation.folder / "pulse"), service)
        return any(pulse.pid == process.pid and pulse.state == probe.CONSUMING for pulse in pulses)


def _wait_ready(member: Member, process: Process) -> None:
    eventually(lambda: member.is_ready(process) or not process.is_running(), 30, "it is ready")
    assert process.is_running(), process.log.read_text()[-3000:]


def _is_web_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", trust_env=False).is_success
    except httpx.HTTPError:
        return False


class Load:
    """Clients, each of which sends one thing after the other until told to stop."""

    def __init__(self, installation: Installation, port: int) -> None:
        self._installation = installation
        installation._services.add("tester")
        self._base = f"http://127.0.0.1:{port}"
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        #: How many requests were answered well, by what they were.
        self.answered: Counter[str] = Counter()
        self.failed: list[tuple[str, str]] = []
        #: Where to ask for what was answered with 202, and the numbers of those orders.
        self.urls: dict[str, int] = {}
        clients = [self._ask, self._ask, self._post, self._post, self._order]
        self._threads = [threading.Thread(target=self._run, args=(each,)) for each in clients]

    def __enter__(self) -> Self:
        #: Sends commands and events, past the gateway's HTTP.
        self._sender = self._installation.start(
            "sender", "python", "-m", "tests.support.steady_sender"
        )
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        assert self._sender.stop() == 0, self._sender.log.read_text()

    def sent(self, what: str) -> list[str]:
        """Return what the sender was told of each command, or event."""
        lines = [line.split() for line in self._sender.log.read_text().splitlines()]
        return [answer for kind, answer in lines if kind == what]

    def _run(self, act: Callable[[httpx.Client, int], httpx.Response]) -> None:
        # A connection for each request: the balancer is none that knows HTTP.
        limits = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(
            base_url=self._base, trust_env=False, timeout=20, limits=limits
        ) as client:
            while not self._stopped.wait(PAUSE_SECONDS):
                what = act.__name__
                try:
                    response = act(client, next(self._numbers))
                    outcome = None if response.is_success else response.text
                except httpx.HTTPError as exc:
                    outcome = repr(exc)
                with self._lock:
                    if outcome is None:
                        self.answered[what] += 1
                    else:
                        self.failed.append((what, outcome))

    def _ask(self, client: httpx.Client, number: int) -> httpx.Response:
        return client.get(f"/api/web/orders/{number}")

    def _post(self, client: httpx.Client, _number: int) -> httpx.Response:
        return client.post("/api/web/who", content=b"x" * 100)

    def _order(self, client: httpx.Client, number: int) -> httpx.Response:
        number += DURABLE
        response = client.post(
            f"/api/web/orders/{number}", json={}, headers={"Prefer": "respond-async"}
        )
        if response.status_code == 202:
            self.urls[response.headers["location"]] = number
        return response


@pytest.fixture
def fleet(installation: Installation) -> Iterator[Fleet]:
    installation.settings |= FAST | PATIENT
    with ExitStack() as stack:
        fleet = Fleet(installation)
        stack.callback(fleet.balancer.close)
        yield fleet.start()


def test_nothing_fails_and_nothing_is_lost_or_doubled_while_everything_is_restarted_twice(
    installation: Installation, ledger: Ledger, fleet: Fleet
) -> None:
    subscribed = "SELECT count(*) FROM gateway_app_subscription WHERE pattern = 'happened.#'"
    eventually(lambda: ledger.one(subscribed) == 2, 30, "the registrations")
    base = f"http://127.0.0.1:{fleet.balancer.port}"
    with httpx.Client(base_url=base, trust_env=False) as client:
        # Twice in a row: both web processes know of it.
        for path in ("/api/web/who", "/api/web/orders/0") * 2:
            eventually(lambda path=path: client.get(path).is_success, 30, f"a route to {path}")
    journal = installation.journal(SERVICE)
    before = _counts(journal.lines())

    with Load(installation, fleet.balancer.port) as load:
        for _ in range(ROUNDS):
            fleet.restart_each()

    assert load.failed == []
    assert min(load.answered[each] for each in ("_ask", "_post", "_order")) > 100
    commands, events = load.sent("count"), load.sent("happened.now")
    assert {len(each) for each in commands + events} == {36}
    wanted = len(commands) + 2 * len(events)
    eventually(lambda: ledger.messages_with_effect >= wanted, 60, "all effects")
    open_rows = "SELECT count(*) FROM messaging_outboxmessage WHERE due_at IS NOT NULL"
    eventually(lambda: ledger.one(open_rows) == 0, 60, "all outcomes")
    effects = Counter(ledger.rows("SELECT message_id, service FROM effect"))
    once = Counter((each, "counter") for each in commands)
    once.update((each, name) for each in events for name in ("counter", "listener"))
    assert effects == once

    after = _counts(journal.lines())
    assert after["post"] - before["post"] == load.answered["_post"]
    assert after["asked"] - before["asked"] == load.answered["_ask"]
    durable = [line["order"] for line in journal.lines(event="order") if line["order"] >= DURABLE]
    assert sorted(durable) == sorted(load.urls.values())
    with httpx.Client(base_url=base, trust_env=False) as client:
        assert {client.get(url).json()["state"] for url in load.urls} == {"handled"}
    account = json.loads(installation.manage("bus_account", "--json").stdout)
    assert account["unaccounted"] == 0
    assert ledger.rows("SELECT reason, error FROM gateway_app_deadletter") == []
    assert all(process.is_running() for process in fleet.processes)


def _counts(lines: list[dict[str, Any]]) -> Counter[str]:
    return Counter(
        "post" if line["event"] == "who" else "asked"
        for line in lines
        if (line["event"] == "who" and line["method"] == "POST")
        or (line["event"] == "order" and line["order"] < DURABLE)
    )
