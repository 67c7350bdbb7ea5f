"""Consuming inside Celery's event loop (kombu's ``Hub``).

Two ways that look right cost a second each. Delivering from ``hub.on_tick``: the process pool
arms its pipes in its own on_tick callback, in no given order, so a task may wait for the poll
timeout. Scheduling with ``hub.call_soon`` from inside the loop: it does not look at new callbacks
before it polls. A datagram to one's own socket is right in every phase and from every thread.
"""

import logging
import threading
from typing import Any, Final

from messaging.errors import BrokerError, PublishError
from messaging.transport.consuming import Consumption

logger = logging.getLogger(__name__)

#: An ack waits this long for a claim to share its transaction with, while the consumer has room
#: for more messages. A crash meanwhile delivers a handled message again, as it does at any time
#: between handler and ack; in return the ack does not compete with the next publish.
_ACK_SECONDS: Final = 0.005


class HubDrain:
    """Drains a connection whenever its wake-up socket is readable."""

    def __init__(self, consumption: Consumption, hub: Any) -> None:
        self._consumption = consumption
        self._hub = hub
        self._is_scheduled = False
        self._thread_id = threading.get_ident()
        self._flush_later: Any = None
        consumption.defers_acks = True
        consumption.on_work = self.schedule
        consumption.on_ack = self._on_ack
        self._descriptor = consumption.session.wakeups.fileno()
        hub.add_reader(self._descriptor, self._on_wake)
        # The hub closes before the pool's last acks are made: those must not wait for a loop
        # that will not run again.
        hub.on_close.add(self._on_hub_close)
        self.schedule()

    def schedule(self) -> None:
        """Have the loop look at this connection. From any thread."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._consumption.wake()

    def _on_ack(self) -> None:
        """Have an ack flushed: with the next claim where one can come before, or soon."""
        if self._consumption.acks_may_wait and threading.get_ident() == self._thread_id:
            if self._flush_later is None:
                self._flush_later = self._hub.call_later(_ACK_SECONDS, self._flush)
        else:
            self.schedule()

    def _flush(self) -> None:
        self._flush_later = None
        if self._consumption.pump():
            self.schedule()

    def close(self) -> None:
        """Leave the loop; acks are made at once from now on."""
        if self._consumption.broker.store.inherited:
            return  # the poller behind the hub is shared with the parent
        self._hub.on_close.discard(self._on_hub_close)
        self._hub.remove(self._descriptor)
        if self._flush_later is not None:
            self._flush_later.cancel()
        self._consumption.defers_acks = False

    def _on_hub_close(self, _hub: Any) -> None:
        if self._consumption.broker.store.inherited:
            return
        self.close()
        try:
            self._consumption.flush_acks()
        except (BrokerError, PublishError) as exc:
            # Not ours to raise: the hub would stay half closed. The acks are kept, and made or
            # reported when the connection closes.
            logger.warning("embedded broker: acks put off until the connection closes: %s", exc)

    def _on_wake(self) -> None:
        """Flush acks, claim, and deliver `Options.turn_messages`; more in other turns of the loop.

        In a pool that runs tasks right here (solo) the ack of a message comes in the turn after
        its delivery: with one message a turn it is stored before the next task begins, and a
        crash in that brings back only itself.
        """
        consumption = self._consumption
        looks = consumption.take_wakeups()
        # Cleared before looking: what comes from now on schedules another look.
        self._is_scheduled = False
        looks_later = False
        if looks:
            # With something to deliver already, `pump` does not look at the file: later, then.
            looks_later = consumption.has_buffered
            consumption.pump()
        for _ in range(consumption.options.turn_messages):
            if not consumption.deliver_one():
                break
            looks_later |= consumption.may_have_more if looks else consumption.has_buffered
        if looks_later:
            self.schedule()
