"""Real Celery workers on the embedded broker: reconnecting, forking, dying."""

import os
import signal

import kombu
import pytest
from kombu import Queue

from tests.faults.embedded_processes import Process

pytestmark = pytest.mark.slow

DONE = Queue("done", durable=True)
TASKS = Queue("celery", kombu.Exchange("celery", "direct"), "celery", durable=True)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/broker.sqlite3"


@pytest.fixture
def worker(url):
    started = []

    def worker(*options):
        process = Process(
            *("celery", "-A", "tests.faults.embedded_app", "worker", "--loglevel=WARNING"),
            *("--without-gossip", "--without-mingle", "-n", "test@localhost", *options),
            BROKER_URL=url,
        )
        started.append(process)
        return process

    yield worker
    for process in started:
        process.end()


def send(connection, numbers):
    """Send the task as Celery does, protocol 2."""
    producer = connection.Producer()
    for number in numbers:
        headers = {"task": "report", "id": f"id-{number}", "lang": "py", "root_id": f"id-{number}"}
        body = [[number], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
        producer.publish(
            body,
            exchange="celery",
            routing_key="celery",
            headers=headers,
            correlation_id=f"id-{number}",
            declare=[TASKS, DONE],
        )


def done(connection, count, timeout=20):
    """Return that many reports: number and pid."""
    reports = []

    def take(body, message):
        message.ack()
        reports.append(tuple(body))

    with connection.Consumer([DONE], callbacks=[take]):
        while len(reports) < count:
            connection.drain_events(timeout=timeout)
    return reports


def test_a_worker_comes_back_on_a_new_file_when_its_own_was_deleted(url, worker):
    worker("--pool=threads", "--concurrency=2")
    with kombu.Connection(url) as connection:
        send(connection, [1, 2])
        assert sorted(number for number, _ in done(connection, 2)) == [1, 2]
    for suffix in ("", "-wal", "-shm"):
        os.unlink(url.removeprefix("sqlite:///") + suffix)
    with kombu.Connection(url) as connection:
        send(connection, range(10, 20))
        assert sorted(number for number, _ in done(connection, 10)) == list(range(10, 20))


def test_a_prefork_worker_that_forks_all_the_time_runs_every_task_once(url, worker):
    worker("--pool=prefork", "--concurrency=2", "--max-tasks-per-child=3")
    with kombu.Connection(url) as connection:
        send(connection, range(40))
        reports = done(connection, 40)
    assert sorted(number for number, _ in reports) == list(range(40))
    assert len({pid for _, pid in reports}) >= 10


@pytest.mark.parametrize("pool", ["threads", "prefork", "solo"])
def test_a_killed_worker_loses_no_task(url, worker, pool):
    first = worker(f"--pool={pool}", "--concurrency=2")
    with kombu.Connection(url) as connection:
        send(connection, range(60))
        before = done(connection, 10)
        os.killpg(first.pid, signal.SIGKILL)
        worker(f"--pool={pool}", "--concurrency=2")
        seen = {number for number, _ in before}
        while len(seen) < 60:
            seen.update(number for number, _ in done(connection, 1))
    assert seen == set(range(60))
