"""The relay: does what is due in the outbox and the inbox. One thread in every worker."""

import logging
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from django.db import DatabaseError
from kombu import Queue

from messaging import codec
from messaging.batches import Copy, is_away
from messaging.clock import BUS_CLOCK
from messaging.custody import due, epoch, held, ordering, outbox, schedule, shared
from messaging.custody.asking import ask
from messaging.custody.due import BATCH, DueMessage
from messaging.custody.link import Link
from messaging.custody.outbox import BROKER_AWAY_SECONDS, Key
from messaging.custody.patience import Patience
from messaging.custody.retention import Retention
from messaging.custody.runs import LEASES
from messaging.custody.sending import Sent, refuse, send
from messaging.custody.targets import Targets
from messaging.custody.telling import Telling
from messaging.database_threads import close_database
from messaging.envelope import utc_now
from messaging.errors import BrokerError, DecodeError, PublishError, PublishUncertain
from messaging.events import STUCK_AT, broker_lost, broker_recovered, emit, message_stuck
from messaging.forking import no_fork_meanwhile
from messaging.models import OutboxState

if TYPE_CHECKING:
    from messaging.bus import MessageBus
    from messaging.custody.handoff import Handoff

logger = logging.getLogger(__name__)

#: How often to look whether the broker still has what it had.
EPOCH_SECONDS: Final = 5.0
#: What was published so long before a connection broke may have been lost with it.
PARTIAL_LOSS_SECONDS: Final = 30.0


class Relay:
    """Looks for due rows every ``relay_tick_seconds``, and exactly when one falls due before.

    Several relays on one database do no harm: a row is claimed before it is published, and two
    copies of a message are one to its receiver. A relay killed in between leaves rows that are
    due again after `outbox.CLAIM_SECONDS`.

    Args:
        bus: where to publish.
        service: in whose name; for signals.
        queue: of the worker that it belongs to, if any: bound again when the broker came back
            empty, which a worker does not notice as long as its connection lasts.
    """

    def __init__(self, bus: "MessageBus", service: str, queue: Queue | None = None) -> None:
        self._bus = bus
        self._service = service
        self._link = Link(bus)
        self._targets = Targets(bus)
        self._telling = Telling(self._link, bus.keyring.speakers)
        self._retention = Retention(bus.config)
        self._queue = queue
        self._epoch_at = 0.0
        #: Of the broker when the queue was last bound.
        self._epoch = ""
        self._is_broker_away = False
        self._sequences = ordering.Watch()
        self._patience = Patience()
        self._stopped = threading.Event()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self.run, name="messaging-relay", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Stop after the batch in hand."""
        self._stopped.set()
        self.wake()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def wake(self) -> None:
        """Have it look at once."""
        self._woken.set()

    @property
    def publisher(self) -> "Handoff":
        """What publishes at once in this process."""
        return self._bus.dispatch.handoff

    def run(self) -> None:
        """Work until stopped, in this thread."""
        ordering.RELAYS.add(self)
        try:
            while not self._stopped.is_set():
                self._woken.wait(self._turn())
                self._woken.clear()
        finally:
            ordering.RELAYS.discard(self)
            try:
                self._telling.stop()
            except DatabaseError as exc:
                logger.warning("relay: what was refused is told when it is asked for: %s", exc)
            close_database()

    def _turn(self) -> float:
        """Do what is due and return how long to wait before looking again."""
        tick = self._bus.config.relay_tick_seconds
        try:
            done = BATCH
            while done >= BATCH and not self._stopped.is_set():
                # Each at its own pace, however much is due.
                self._watch_broker()
                self._sequences.turn()
                done = self.work()
                with no_fork_meanwhile():
                    self._retention.turn()
            due_in = _seconds_until_due()
        except (BrokerError, PublishUncertain) as exc:
            self._lost_broker(exc)
            return BROKER_AWAY_SECONDS
        except DatabaseError as exc:
            # Locked, restarted, not migrated yet: rows stay where they are.
            logger.warning("relay: the database did not answer: %s", exc)
            close_database()
            return BROKER_AWAY_SECONDS
        except Exception:
            # Whatever it is: without a relay nothing that falls due is ever done again.
            logger.exception("relay: this turn failed; the rows fall due again")
            close_database()
            return BROKER_AWAY_SECONDS
        if due_in == 0 and not done:
            return tick / 2  # left to another relay, or due only since
        return tick if due_in is None else min(tick, due_in)

    def work(self) -> int:
        """Do one batch of everything that is due; return how many rows, of the kind with most.

        There may be more where it is a whole `BATCH`.

        Raises:
            BrokerError, PublishUncertain: the broker is away; what was not published is due again
                soon.
        """
        return max(self._publish_outbox(), self._publish_inbox(), self._tell_custodians())

    def _watch_broker(self) -> None:
        """Look for the marker now and then; at once after the broker was away."""
        now = BUS_CLOCK.monotonic()
        if now < self._epoch_at:
            return
        epoch.check(self._link)
        with no_fork_meanwhile():
            current = outbox.epoch_now()
        if self._queue is not None and self._epoch not in ("", current):
            try:
                self._link.declare(self._queue)
            except PublishError as exc:  # its worker is refused as well, and says more
                logger.warning("relay: %s is not bound again: %s", self._queue.name, exc)
        self._epoch = current
        self._epoch_at = now + EPOCH_SECONDS
        if self._is_broker_away:
            self._is_broker_away = False
            since = utc_now() - timedelta(seconds=PARTIAL_LOSS_SECONDS)
            outbox.published_since(since)
            logger.warning("relay: the broker is back")
            emit(broker_recovered, self._service)

    def _lost_broker(self, error: BaseException) -> None:
        self._epoch_at = 0.0
        if not self._is_broker_away:
            self._is_broker_away = True
            logger.warning("relay: the broker is away: %s", error)
            emit(broker_lost, self._service, error=error)

    def _publish_outbox(self) -> int:
        rows = due.claim_due(utc_now(), knows_registry=self._bus.is_down is not None)
        self._publish(self._to_publish([row for row in rows if row.state != OutboxState.ACCEPTED]))
        ask(
            self._link,
            [row for row in rows if row.state == OutboxState.ACCEPTED],
            self._bus.keyring.speakers,
            self._is_received,
        )
        return len(rows)

    def _to_publish(self, rows: list[DueMessage]) -> list[tuple[DueMessage, float]]:
        """Return what goes out now, with the pause after it; hold or put off what does not."""
        down = self._down_targets(rows)
        chosen: list[tuple[DueMessage, float]] = []
        waiting: list[DueMessage] = []
        put_off: dict[float, list[Key]] = {}
        for row in rows:
            look_seconds = self._bus.config.receipt_timeout_seconds
            if row.state == OutboxState.PUBLISHED and row.under_custody:
                if self._is_received(row.key):
                    continue
                verdict = self._targets.decide(row, utc_now())
                look_seconds = verdict.look_seconds
                if not verdict.publishes:
                    put_off.setdefault(look_seconds, []).append(row.key)
                    continue
            if row.under_custody and row.key.target in down:
                waiting.append(row)
            else:
                chosen.append((row, look_seconds))
        for look_seconds, keys in put_off.items():  # few: most wait for the same
            outbox.postpone(keys, _after(look_seconds), refused=False)
        held.hold(waiting, utc_now())
        return chosen

    def _is_received(self, key: Key) -> bool:
        return shared.note_received(key)

    def _down_targets(self, rows: list[DueMessage]) -> set[str]:
        targets = {row.key.target for row in rows if row.under_custody}
        # Asked anew: what has just been let out must not be held again on an old answer.
        return {each for each in targets if self._bus.down.includes(each, now_known=True)}

    def _publish(self, rows: list[tuple[DueMessage, float]]) -> None:
        # Read before publishing: what the broker loses from now on shows as another epoch.
        current = outbox.epoch_now()
        outgoing = []
        for row, wait_seconds in rows:
            try:
                envelope = codec.decode(row.body)
            except DecodeError as exc:  # of a later version, perhaps
                refuse(row.key, row.failures, exc)
            else:
                copy = Copy(envelope, row.body, row.key.target or None, row.publishes + 1)
                outgoing.append(Sent(row.key, copy, wait_seconds, row.failures))
        errors = send(self._bus, outgoing, current)
        for sent, error in zip(outgoing, errors, strict=True):
            if error is None and sent.copy.publishes == STUCK_AT:
                emit(message_stuck, self._service, envelope=sent.copy.envelope, tries=STUCK_AT)
        for error in errors:
            if error is not None and is_away(error):
                raise error

    def _publish_inbox(self) -> int:
        max_deaths = self._bus.config.max_worker_deaths
        schedule.end_dead_runs(max_deaths)
        deliveries = schedule.claim_due(
            utc_now(),
            self._targets.queue_length,
            max_deaths,
            leases_at=LEASES.now(),
            is_patience_over=self._patience.is_over,
        )
        outgoing = []
        for row in deliveries:
            try:
                # At least the second time: its first delivery is what fell due.
                outgoing.append((row, Copy(codec.decode(row.body), row.body, row.service, 2)))
            except DecodeError as exc:  # of a later version, perhaps
                logger.warning("relay: inbox row %d cannot be read: %s", row.row_id, exc)
        errors = self._bus.publish_all([copy for _, copy in outgoing])
        away = []
        for (row, _), error in zip(outgoing, errors, strict=True):
            if error is not None and is_away(error):
                away.append((row.row_id, error))
            elif error is not None:
                logger.warning("relay: inbox row %d cannot be published: %s", row.row_id, error)
        if away:
            schedule.give_back([row_id for row_id, _ in away], _after(BROKER_AWAY_SECONDS))
            raise away[0][1]
        return len(deliveries)

    def _tell_custodians(self) -> int:
        return self._telling.tell()


def _after(seconds: float) -> datetime:
    return utc_now() + timedelta(seconds=seconds)


def _seconds_until_due() -> float | None:
    now = utc_now()
    known = [due.seconds_until_due(now), schedule.seconds_until_due(now)]
    return min((seconds for seconds in known if seconds is not None), default=None)
