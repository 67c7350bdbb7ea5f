"""The guard: a Celery consumer that no message can kill and that drops none.

Celery acknowledges and forgets broken JSON, rejects unknown tasks and content types (deletes them,
that is, on brokers without dead-letter exchange), and dies of a JSON body of the wrong shape, one
worker after the other. Here all of them are parked with their raw body.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar, Final

from celery.worker.consumer import Consumer
from celery.worker.loops import asynloop, synloop
from django.db import DatabaseError
from kombu.message import Message

from messaging.codec import TASK_NAME
from messaging.database_threads import close_database
from messaging.deadletter import DeadLetterReason
from messaging.envelope import Envelope
from messaging.errors import DecodeError
from messaging.worker.acks import Acks
from messaging.worker.consumption import Consumption
from messaging.worker.flow import Flow
from messaging.worker.load import Load
from messaging.worker.loop_calls import LoopCalls
from messaging.worker.pool import ThreadPool
from messaging.worker.prefetch import Prefetch
from messaging.worker.task_events import TaskEvents

logger = logging.getLogger(__name__)

#: A message that could not be settled comes again after this. Whatever was in the way (a
#: database, a crashing handler) must not be tried in a tight loop.
REDELIVER_AFTER_SECONDS: Final = 1.0
#: A worker that ends waits so long for its runs to be on record; what is not is done again.
SHUTDOWN_SECONDS: Final = 10.0


class GuardConsumer(Consumer):
    """Celery's consumer, for `messaging.deliver` and nothing else."""

    class Blueprint(Consumer.Blueprint):
        """Celery's steps, without its own delays: on quorum queues it makes 28 queues for them."""

        default_steps: ClassVar = [
            step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in step
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.loop_calls = LoopCalls()
        # Parking talks to the broker or the database: not on the event loop's thread.
        self._parking = ThreadPoolExecutor(1, thread_name_prefix="messaging-parking")
        super().__init__(*args, **kwargs)
        #: Whether it takes messages.
        self.consumption = Consumption(self)
        self.consumption.recall()
        #: What it has taken and is at, for heartbeats.
        self.load = Load(self.pool, is_paused=lambda: self.consumption.is_paused)
        #: What it has handled, for heartbeats.
        self.flow = Flow()
        if isinstance(self.pool, ThreadPool):
            from messaging.custody.run_groups import RunGroups  # Django's models load late

            self.pool.loop_calls = self.loop_calls
            communicator = self.app.communicator
            self.run_groups = RunGroups(
                communicator.name,
                communicator.bus.config.max_worker_deaths,
                communicator.identity.version,
                records_all=communicator.bus.keyring.has_keys,
            )

    def loop(self, *args: Any) -> None:
        """Consume until shutdown or the loss of the connection."""
        run = asynloop if self.hub else synloop
        try:
            run(*args)
        finally:
            if isinstance(self.pool, ThreadPool):
                self.pool.leave_event_loop()
                self.run_groups.abandon()
            self.loop_calls.detach()
            self.task_events.leave_event_loop()

    def register_with_event_loop(self, hub: Any) -> None:
        """Also let pool threads call this loop."""
        super().register_with_event_loop(hub)
        self.loop_calls.attach(hub)

    def shutdown(self) -> None:
        """Also wait for what is being parked."""
        self._parking.shutdown(wait=True)
        if isinstance(self.pool, ThreadPool):
            self.run_groups.wait(SHUTDOWN_SECONDS)
        super().shutdown()

    def update_strategies(self) -> None:
        """Accept one task. Celery's built-in ones run code a stranger could ask for."""
        task = self.app.tasks[TASK_NAME]
        self.strategies[TASK_NAME] = task.start_strategy(self.app, self)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Return Celery's handler of messages, with every way to fail caught."""
        others = super().create_task_handler(*args, **kwargs)
        deliver = self.strategies[TASK_NAME]
        goes_ahead = (
            isinstance(self.pool, ThreadPool)
            and self.hub is not None
            and self.app.communicator.bus.profile.requeues_in_front
        )
        self.prefetch = Prefetch(self.qos, self.pool.num_processes, goes_ahead=goes_ahead)

        self.acks = Acks(
            self.connection_errors,
            has_multiple=self.app.communicator.bus.profile.acks_multiple,
        )
        self.loop_calls.after = self.acks.flush
        self.task_events = TaskEvents(
            self.event_dispatcher, self.app.communicator.name, self.hub, self.loop_calls
        )

        load = self.load

        def on_message(message: Message) -> None:
            load.consumed += 1
            self.acks.hold(message)
            try:
                # Celery's own handler makes two promises for each message, which nothing here
                # asks for.
                is_ours = message.headers.get("task") == TASK_NAME
                (deliver if is_ours else others)(message)
            except (*self.connection_errors, *self.channel_errors):
                raise  # Celery connects again and the broker delivers again
            except DecodeError as exc:
                self._park(message, DeadLetterReason(exc.reason), exc)
            except Exception as exc:
                self._park(message, DeadLetterReason.INVALID, exc)

        return on_message

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Park a body that cannot be decoded."""
        self.load.consumed += 1  # some come past `on_message`
        self.acks.hold(message)
        self._park(message, DeadLetterReason.INVALID, exc)

    def on_unknown_message(self, body: Any, message: Message) -> None:
        """Park what is no Celery message."""
        self._park(message, DeadLetterReason.INVALID, "not a Celery task message")

    def on_unknown_task(self, body: Any, message: Message, exc: Exception) -> None:
        """Park a task that is not `messaging.deliver`."""
        name = (message.headers or {}).get("task")
        self._park(message, DeadLetterReason.INVALID, f"unknown task {name!r}")

    def on_invalid_task(self, body: Any, message: Message, exc: Exception) -> None:
        """Park a task message that Celery refuses."""
        self._park(message, DeadLetterReason.INVALID, exc)

    def requeue(self, message: Message) -> None:
        """Give a delivery back to the broker. Where the connection lives."""
        try:
            self.acks.requeue(message)
        except self.connection_errors as exc:
            # Where the connection is lost the broker has it back by itself, and this timer goes.
            task_id = (message.headers or {}).get("id")
            logger.warning("%s is given back later: %s", task_id, exc)
            self.requeue_later(message)

    def requeue_later(self, message: Message) -> None:
        """Give a delivery back after `REDELIVER_AFTER_SECONDS`. Where the connection lives."""
        requeue = partial(self.requeue, message)
        self.timer.call_after(REDELIVER_AFTER_SECONDS, self.loop_calls.call, (requeue,))

    def note_death(self, envelope: Envelope, error: str) -> None:
        """Put on record what killed the process that handled a message."""
        self._parking.submit(self._note_death_now, envelope, error)

    def remember(self, write: Callable[[], None]) -> None:
        """Write something to the database, soon and on another thread; it is lost if that fails.

        Only for what is said again.
        """
        self._parking.submit(self._remember_now, write)

    def _remember_now(self, write: Callable[[], None]) -> None:
        try:
            write()
        except DatabaseError as exc:
            logger.warning("%s is not remembered: %s", self.app.communicator.name, exc)
            close_database()

    def _note_death_now(self, envelope: Envelope, error: str) -> None:
        from messaging.custody import inbox

        try:
            inbox.note_death(envelope.id, self.app.communicator.name, error)
        except DatabaseError as exc:
            # Only the text is missing then: the run is counted already, or will be as unended.
            logger.warning("%s: death of its process not noted: %s", envelope.id, exc)
            close_database()

    def _park(
        self, message: Message, reason: DeadLetterReason, error: BaseException | str
    ) -> None:
        logger.error("%s message on %s parked: %s", reason, self.app.communicator.name, error)
        self._parking.submit(self._park_now, message, reason, error)

    def _park_now(
        self, message: Message, reason: DeadLetterReason, error: BaseException | str
    ) -> None:
        try:
            self.app.communicator.parking.park_delivery(message, reason, error)
        except Exception:
            # The database did not take the record: the broker keeps the message.
            close_database()
            logger.exception("a bad message could not be parked; it stays in the queue")
            self.loop_calls.call(partial(self.requeue_later, message))
        else:
            self.loop_calls.call(partial(self.acks.done, message))
