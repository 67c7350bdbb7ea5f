"""One private installation of the bus: a folder, a database, a namespace on a broker."""

import json
import os
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kombu import Connection

from messaging import MessagingConfig, ServiceCommunicator
from tests.support.brokers import Features, url_for
from tests.support.forked import ForkedProcess, run
from tests.support.journal import Journal
from tests.support.processes import ROOT as ROOT
from tests.support.processes import Process
from tests.support.waiting import eventually


class Installation:
    def __init__(self, features: Features, folder: Path, database: Path) -> None:
        self.features = features
        self.folder = folder
        self.url = url_for(features, folder)
        self.namespace = f"t{uuid.uuid4().hex[:10]}"
        self.settings: dict[str, Any] = {
            "namespace": self.namespace,
            "redis_visibility_timeout_seconds": 3,
        }
        #: Variables of all processes that are started from now on.
        self.variables: dict[str, str] = {}
        shutil.copy(database, folder / "gateway.sqlite3")
        self._processes: list[Process] = []
        self._communicators: list[ServiceCommunicator] = []
        self._services: set[str] = {"api-gateway"}

    def communicator(self, name: str = "tester", **settings: Any) -> ServiceCommunicator:
        """A communicator in this process."""
        values = {"broker_url": self.url, **self.settings, **settings}
        communicator = ServiceCommunicator(name, config=MessagingConfig.from_mapping(values))
        self._communicators.append(communicator)
        self._services.add(name)
        return communicator

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("MESSAGING_", "DJANGO_", "CELERY_", "DATABASE_URL"))
        }
        settings = {f"MESSAGING_{key.upper()}": str(v) for key, v in self.settings.items()}
        return {
            **inherited,
            **settings,
            **self.variables,
            "BROKER_URL": self.url,
            "VAR_DIR": str(self.folder),
            "DJANGO_SETTINGS_MODULE": "gateway_app.settings",
            "PYTHONPATH": str(ROOT),
            "C_FORCE_ROOT": "1",
            # A third of what is left of a start: every URL and page, which no worker here serves.
            "CELERY_SKIP_CHECKS": "true",
            **more,
        }

    def journal(self, service: str) -> Journal:
        return Journal(self.folder / f"{service}.journal")

    def start(self, name: str, *command: str, **env: str) -> Process:
        """Start any Python program of the virtual environment in this installation."""
        process = ForkedProcess(
            *command, env=self.environment(**env), log=self.folder / f"{name}.log"
        )
        self._processes.append(process)
        return process

    def start_program(self, name: str, *command: str, **env: str) -> Process:
        """Start a program that is none of Python's in this installation."""
        log = self.folder / f"{name}.log"
        process = Process(*command, env=self.environment(**env), log=log)
        self._processes.append(process)
        self._services.add(name)
        return process

    def send(self, messages: Iterable[dict[str, Any]]) -> list[str]:
        """Send from a process of its own, which has a database; return ids or error names."""
        lines = "".join(json.dumps(message) + "\n" for message in messages)
        self._services.add("tester")
        done = self.run("python", "-m", "tests.support.sender", text=lines)
        done.check_returncode()
        return done.stdout.split()

    def run(self, *command: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a Python program in this installation to its end; the text is its input."""
        return run(*command, env=self.environment(), folder=self.folder, text=text)

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a management command in this installation."""
        return self.run("python", "manage.py", *arguments)

    def database(self) -> sqlite3.Connection:
        """Return a connection to this installation's database, in autocommit."""
        return sqlite3.connect(self.folder / "gateway.sqlite3", timeout=30, isolation_level=None)

    def start_worker(
        self,
        service: str,
        *,
        patterns: Sequence[str] = ("work",),
        concurrency: int = 4,
        arguments: Sequence[str] = (),
        wait: bool = True,
        **env: str,
    ) -> Process:
        """Start `celery … worker` for a probe service; on return it consumes."""
        self._services.add(service)
        journal = self.journal(service)
        before = len(journal.lines(event="ready"))
        process = self.start(
            service,
            "celery",
            "-A",
            "tests.support.probe",
            "worker",
            *arguments,
            PROBE_SERVICE=service,
            PROBE_PATTERNS=",".join(patterns),
            PROBE_JOURNAL=str(journal.path),
            **{"MESSAGING_WORKER_CONCURRENCY": str(concurrency), **env},
        )
        if wait:
            self.wait_ready(service, before + 1)
        return process

    def is_running(self, name: str) -> bool:
        """Return whether a process was started by that name, and runs."""
        return any(
            process.log.stem == name and process.is_running() for process in self._processes
        )

    def stop(self, name: str) -> None:
        """End every process that was started by that name, as a supervisor does."""
        for process in self._processes:
            if process.log.stem == name:
                process.stop()

    def wait_ready(self, service: str, starts: int) -> None:
        """Wait until workers of a service were ready so many times."""
        journal = self.journal(service)

        def is_ready_or_dead() -> bool:
            ready = len(journal.lines(event="ready")) >= starts
            return ready or not self._processes[-1].is_running()

        eventually(is_ready_or_dead, 30, f"{service} ready")
        if len(journal.lines(event="ready")) < starts:
            raise AssertionError((self.folder / f"{service}.log").read_text()[-3000:])

    def close(self) -> None:
        """End every process and remove what is left on a shared broker."""
        for process in self._processes:
            process.kill()
        for communicator in self._communicators:
            communicator.close()
        if self.features.name == "amqp":
            self._remove_from_rabbitmq()
        elif self.features.name == "redis":
            self._remove_from_redis()

    def _remove_from_rabbitmq(self) -> None:
        names = ("bus.events", "bus.services", "bus.celeryev", "bus.control.pidbox")
        exchanges = [f"{self.namespace}.{name}" for name in names]
        exchanges.append(f"reply.{self.namespace}.bus.control.pidbox")
        with Connection(self.url) as connection:
            for service in self._services:
                connection.channel().queue_delete(f"{self.namespace}.{service}")
                connection.channel().queue_delete(f"{self.namespace}.{service}.custody")
            for (epoch,) in self.database().execute("SELECT epoch FROM messaging_busstate"):
                connection.channel().queue_delete(f"{self.namespace}.bus.epoch.{epoch}")
            for exchange in exchanges:
                connection.channel().exchange_delete(exchange)

    def _remove_from_redis(self) -> None:
        with Connection(self.url) as connection:
            client = connection.channel().client
            for key in client.scan_iter(f"{self.namespace}:*"):
                client.delete(key)
