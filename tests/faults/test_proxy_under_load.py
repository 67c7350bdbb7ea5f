"""Three instances behind a proxied route under load: one is killed, one is slow."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from messaging.clock import SYSTEM_CLOCK
from tests.support.http_stack import HttpStack, Instance
from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.embedded_only]
PATH = "/api/web/who"
READERS = 9
WRITERS = 3
PAUSE_SECONDS = 0.03


class Load:
    """Clients that ask one request after the other until told to stop."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}{PATH}"
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        #: Since `mark`: pid of who answered, by method.
        self.answered: Counter[tuple[str, int]] = Counter()
        self.failed: list[tuple[str, str]] = []
        methods = ["GET"] * READERS + ["POST"] * WRITERS
        self._threads = [threading.Thread(target=self._run, args=(m,)) for m in methods]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def mark(self) -> None:
        with self._lock:
            self.answered.clear()

    def pids(self) -> set[int]:
        with self._lock:
            return {pid for _, pid in self.answered}

    def count(self, pid: int) -> int:
        with self._lock:
            return sum(n for (_, each), n in self.answered.items() if each == pid)

    def wait(self, requests: int) -> None:
        """Mark, and wait until so many more have been answered."""
        self.mark()
        eventually(lambda: sum(self.answered.values()) >= requests, 30, f"{requests} answers")

    def _run(self, method: str) -> None:
        with httpx.Client(trust_env=False, timeout=20) as client:
            # A pace that leaves the machine to those who are measured by nothing here.
            while not self._stopped.wait(PAUSE_SECONDS):
                try:
                    response = client.request(method, self._url, content=_body(method))
                    outcome = None if response.is_success else response.text
                except httpx.HTTPError as exc:
                    outcome = repr(exc)
                with self._lock:
                    if outcome is None:
                        self.answered[method, response.json()["pid"]] += 1
                    else:
                        self.failed.append((method, outcome))


def _body(method: str) -> bytes | None:
    return b"x" * 100 if method == "POST" else None


@pytest.fixture
def stack(installation: Installation) -> Iterator[HttpStack]:
    with HttpStack(installation, http_timeout_seconds=6.0) as stack:
        yield stack.start()


@pytest.fixture
def stack_alone(installation: Installation) -> Iterator[HttpStack]:
    """One whose registry says nothing of an instance that hangs before its breaker does."""
    times = {"suspect_seconds": 40.0, "down_seconds": 50.0, "health_check_seconds": 60.0}
    with HttpStack(installation, http_timeout_seconds=3.0, **times) as stack:
        yield stack.start()


def test_no_get_fails_whatever_becomes_of_the_instances(stack: HttpStack) -> None:
    killed, slow, well = (stack.start_instance() for _ in range(3))
    everyone = {each.process.pid for each in (killed, slow, well)}
    stack.wait_routed()
    with Load(stack.port) as load:
        eventually(lambda: load.pids() == everyone, 20, "each instance has its share")

        slow.set(delay=2.0)
        load.mark()
        eventually(lambda: load.count(slow.process.pid) >= 5, 30, "the slow one has some")
        assert load.count(slow.process.pid) < load.count(well.process.pid) / 4

        killed.process.kill()
        eventually(lambda: failures(stack) >= 5, 20, "the breaker's worth of failures")
        eventually(lambda: state_of(stack, killed) == "DOWN", 20, "the registry's word")
        # Until that is known to the gateway's server, its breaker lets a request try every second.
        eventually(lambda: is_left_alone(stack, load), 20, "the server's knowledge of it")
        assert is_left_alone(stack, load)
        assert is_left_alone(stack, load)

        slow.set(delay=0.0)
        back = stack.start_instance(killed.port)
        living = {slow.process.pid, well.process.pid, back.process.pid}
        eventually(lambda: load.pids() == living, 20, "the one that is back has its share")
        load.wait(200)

    assert [failure for failure in load.failed if failure[0] == "GET"] == []
    assert len(load.failed) <= WRITERS  # those that were in the killed one's hands


def test_an_instance_that_hangs_is_left_alone_until_one_request_finds_it_well(
    stack_alone: HttpStack,
) -> None:
    stack = stack_alone
    frozen, well = stack.start_instance(), stack.start_instance()
    stack.wait_routed()
    with Load(stack.port) as load:
        both = {frozen.process.pid, well.process.pid}
        eventually(lambda: load.pids() == both, 20, "each instance has its share")
        # With requests in the other's hand too, half of all go to the one that hangs: a breaker's
        # worth at once, not one in each time-out.
        well.set(delay=0.5)
        began = SYSTEM_CLOCK.monotonic()
        frozen.process.signal(signal.SIGSTOP)
        eventually(lambda: breakers_open(stack) == 1, 20, "its breaker opens")
        frozen.process.signal(signal.SIGCONT)
        seconds = SYSTEM_CLOCK.monotonic() - began
        eventually(lambda: breakers_open(stack) == 0, 20, "its breaker closes")
        load.mark()
        eventually(lambda: load.pids() == both, 20, "it has its share again")
    assert seconds < 10
    assert [failure for failure in load.failed if failure[0] == "GET"] == []
    # Those in its hands when it froze, and those it was given until the breaker opened.
    assert len(load.failed) <= 2 * WRITERS


def is_left_alone(stack: HttpStack, load: Load) -> bool:
    """Return whether nobody tries an instance that is dead, for longer than a breaker pauses."""
    before, began = failures(stack), SYSTEM_CLOCK.monotonic()
    while SYSTEM_CLOCK.monotonic() < began + 1.5:
        load.wait(50)
    return failures(stack) == before


def failures(stack: HttpStack) -> float:
    return metric(stack, 'gateway_upstream_failures_total{service="web-service"}')


def breakers_open(stack: HttpStack) -> float:
    return metric(stack, "gateway_breakers_open")


def metric(stack: HttpStack, name: str) -> float:
    for line in stack.client.get("/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    return 0.0


def state_of(stack: HttpStack, instance: Instance) -> str:
    rows = stack.installation.database().execute(
        "SELECT state FROM gateway_app_serviceinstance WHERE port = ? ORDER BY id",
        (instance.port,),
    )
    return str(rows.fetchone()[0])
