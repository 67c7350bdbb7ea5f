"""The relay: publishes what is due in the outbox. One thread in every worker."""

import logging
import threading
from datetime import datetime, timedelta
from typing import Final

from django.db import DatabaseError, close_old_connections, connection

from messaging import codec, outbox
from messaging.bus import MessageBus
from messaging.envelope import utc_now
from messaging.errors import BrokerError, MessagingError, PublishUncertain

logger = logging.getLogger(__name__)

#: Pause between tries while the broker is away: long enough to be cheap, short enough that
#: nobody waits for it once it is back.
BROKER_AWAY_SECONDS: Final = 2.0
#: Longest pause between tries of a message that the broker refuses.
REFUSED_CAP_SECONDS: Final = 300.0


class Relay:
    """Looks for due rows every ``relay_tick_seconds``, and exactly when one falls due before.

    Several relays on one database do no harm: a row is claimed before it is published. A relay
    killed in between publishes nothing twice that it had not published before; the row is due
    again after `outbox.CLAIM_SECONDS`.
    """

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="messaging-relay", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Stop after the batch in hand."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._stopped.wait(self._turn())
        finally:
            connection.close()

    def _turn(self) -> float:
        """Publish what is due and return how long to wait before looking again."""
        tick = self._bus.config.relay_tick_seconds
        try:
            close_old_connections()
            while self.publish_due() == outbox.BATCH and not self._stopped.is_set():
                pass
            due_in = outbox.seconds_until_due(utc_now())
        except BrokerError as exc:
            logger.warning("relay: the broker is away: %s", exc)
            return BROKER_AWAY_SECONDS
        except DatabaseError as exc:
            # Locked, restarted, not migrated yet: rows stay where they are.
            logger.warning("relay: the database did not answer: %s", exc)
            connection.close()
            return BROKER_AWAY_SECONDS
        return tick if due_in is None else min(tick, due_in)

    def publish_due(self) -> int:
        """Publish one batch of due rows and return how many there were.

        Raises:
            BrokerError: the broker is away; all rows not published are due again soon.
        """
        due = outbox.claim_due(utc_now())
        published: list[int] = []
        try:
            for position, message in enumerate(due):
                try:
                    self._bus.publish(codec.decode(message.body), to=message.target or None)
                except (BrokerError, PublishUncertain) as exc:
                    rest = [row.row_id for row in due[position:]]
                    again = _after(BROKER_AWAY_SECONDS)
                    outbox.postpone(rest, again, str(exc), count=False)
                    raise
                except MessagingError as exc:
                    self._refuse(message, exc)
                else:
                    published.append(message.row_id)
        finally:
            if published:
                outbox.remove(published)
        return len(due)

    def _refuse(self, message: outbox.DueMessage, error: MessagingError) -> None:
        """Keep a message the broker did not accept, with the reason, and try it less often."""
        pause = min(REFUSED_CAP_SECONDS, 2.0 ** min(message.failures, 16))
        logger.error("relay: row %d was refused, again in %g s: %s", message.row_id, pause, error)
        outbox.postpone([message.row_id], _after(pause), str(error), count=True)


def _after(seconds: float) -> datetime:
    return utc_now() + timedelta(seconds=seconds)
