"""The worker program: its node name, and what signals do."""

import logging
import os
import signal
import sqlite3
import sys
from typing import Any

from billiard import active_children
from celery import platforms
from celery.apps.worker import Worker, safe_say
from celery.signals import worker_shutting_down
from celery.utils.nodenames import default_nodename
from celery.worker import state
from django.db import DatabaseError

from messaging.custody import epoch, schedule
from messaging.custody.control import Control
from messaging.custody.relay import Relay
from messaging.database_threads import keep_no_queries, stop_writing
from messaging.refusal import refused_by
from messaging.worker.pulse import PulseThread
from messaging.worker.remote_control import restrict

logger = logging.getLogger(__name__)

EX_FAILURE = 1
#: Exit code of a worker that its broker does not let in.
EX_WRONG_SETUP = 2


class BusWorker(Worker):
    """Celery's worker under a name that is unique to this start.

    TERM or Ctrl-C: takes no more messages, finishes those in hand, gives back the others,
    deregisters. Ctrl-C again: gives everything back and ends at once.

    A broker that is away is waited for; one that refuses the login ends the program in one line,
    before anything starts: Celery would connect again at once, until it dies of its own haste.
    """

    _relay: Relay | None = None
    _control: Control | None = None

    def __init__(self, app: Any = None, hostname: str | None = None, **kwargs: Any) -> None:
        if hostname in (None, default_nodename(None)):
            hostname = (app or self.app).communicator.identity.node_name
        # Gossip and mingle synchronise revoked tasks and clocks, which nothing here uses; mingle
        # alone holds up every start by a second.
        kwargs.update(without_gossip=True, without_mingle=True)
        if refused := refused_by((app or self.app).communicator.bus):
            sys.stderr.write(f"Set up wrong: {refused}\n")
            raise SystemExit(EX_WRONG_SETUP)
        restrict()
        keep_no_queries()
        super().__init__(app, hostname, **kwargs)

    def on_start(self) -> None:
        """Say that this worker lives, before it looks for the broker."""
        communicator = self.app.communicator
        #: What probes and systemd are told.
        self.pulse = PulseThread(communicator.bus.config, communicator.name)
        self.pulse.start()
        super().on_start()

    def on_stopped(self) -> None:
        """Say no more."""
        super().on_stopped()
        self.pulse.stop()

    def on_consumer_ready(self, consumer: Any) -> None:
        """Register, now that messages are consumed, and start the relay."""
        super().on_consumer_ready(consumer)
        communicator = self.app.communicator
        if self._relay is None:
            bus = communicator.bus
            queue = bus.topology.worker_queue(communicator.name, bus.handlers.patterns())
            self._relay = Relay(bus, communicator.name, queue)
            self._relay.start()
            self._control = Control(communicator.bus, communicator.name)
            self._control.start()
        longest = {"longest_timeout": communicator.bus.handlers.longest_timeout()}
        communicator.presence.load_of = lambda: {
            **consumer.load.report(),
            **epoch.whereabouts(),
            **longest,
        }
        communicator.presence.flow_of = consumer.flow.take
        communicator.presence.start()

    def on_close(self) -> None:
        """Deregister before the handlers in hand are waited for."""
        self.pulse.stopping()
        self.app.communicator.presence.stop()
        if self._relay is not None:
            self._relay.stop()
        if self._control is not None:
            self._control.stop()
        super().on_close()

    def install_platform_tweaks(self, worker: Any) -> None:
        """Also end at once at a second signal."""
        super().install_platform_tweaks(worker)
        worker_shutting_down.connect(self._on_shutting_down, weak=False)
        platforms.signals["INT"] = self._on_interrupt

    def _on_shutting_down(self, **_: Any) -> None:
        platforms.signals["INT"] = self._end_at_once

    def _on_interrupt(self, *arguments: Any) -> None:
        # First of all: Celery's own handler of a second one waits for the handlers in hand.
        platforms.signals["INT"] = self._end_at_once
        safe_say("worker: Ctrl-C again ends it at once", sys.__stdout__)
        shut_down = signal.getsignal(signal.SIGTERM)
        assert callable(shut_down)
        shut_down(*arguments)
        state.should_stop = EX_FAILURE

    def _end_at_once(self, *_: Any) -> None:
        """End without waiting for handlers: threads cannot be stopped, only left behind."""
        safe_say("worker: ending at once; unfinished messages go back", sys.__stdout__)
        platforms.signals["INT"] = lambda *_: os._exit(EX_FAILURE)
        connection = getattr(getattr(self, "consumer", None), "connection", None)
        if connection is not None:
            try:
                # RabbitMQ and the embedded broker see the end of the process; Redis must be told.
                connection.default_channel.close()
            except Exception:
                logger.exception("messages could not be given back; they come back by timeout")
        children = [child.pid for child in active_children()]
        try:
            stop_writing()  # else a handler with atomic=True would keep this from being written
            schedule.release([os.getpid(), *children])
        except (DatabaseError, sqlite3.Error):
            logger.exception("runs could not be given back; they count as deaths")
        for pid in children:
            # An orphan would go on handling a message that is being delivered again.
            os.kill(pid, signal.SIGKILL)
        os._exit(EX_FAILURE)
