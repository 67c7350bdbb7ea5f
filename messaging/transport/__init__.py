"""The embedded broker: a kombu transport on one SQLite file, for processes of one host.

Importing this package makes the URL scheme ``sqlite`` known to kombu and Celery. It needs no
server: every process that uses the file is a part of the broker.

Features
========
* Type: Virtual
* Supports Direct: Yes
* Supports Topic: Yes (``*`` and ``#`` exactly as in AMQP)
* Supports Fanout: Yes
* Supports Priority: Yes (0 to 9, 9 first; FIFO inside one; waiting messages age up to 6)
* Supports TTL: Yes (``expiration``, ``x-message-ttl``, ``x-expires``)
* Supports Delay: Yes (header ``x-delay``, milliseconds)
* Supports Event Loop: Yes (Celery's remote control, events and Flower work)

At least once: a claimed message is leased to its consumer's session. Death of the process is seen
at once and repaired within a second; a process that is stopped or frozen loses its leases after
``lease_seconds``; a handler of a healthy process may run as long as it likes.

Connection String
=================
As in SQLAlchemy, with four slashes; relative paths are refused.

.. code-block::

    sqlite:////var/lib/bus/broker.sqlite3

Transport Options
=================
* ``lease_seconds`` (60): silence after which a living process loses its leases.
* ``maintenance_seconds`` (1.0): time between looks for dead consumers and what to sweep.
* ``ageing_seconds`` (60): waiting time that lifts a message one level; 0 switches ageing off.
* ``claim_batch`` (64): most messages claimed at once without a prefetch limit.
* ``turn_messages`` (1): most messages delivered in one turn of an event loop.
* ``durability`` ("normal"): "full" has every publish survive a power cut, too. A single message
  asks for it with the property ``durability="full"``.
* ``busy_seconds`` (30): wait this long for the file's write lock.

Names that are not listed are ignored.

A single message asks with the property ``handover="direct"`` to be sent to the socket of its one
reader instead of being stored: where the queue has one consumer, which does not acknowledge, and
dies with it. Such messages keep no order with others. Made for replies.

Limits
======
One host and a local disk. One writer at a time: about 20,000 small commits a second for all
queues together. ``normal`` durability survives the death of every process, but a power cut may
take the last commits. File permissions (0600) are the access control. ``x-max-length``, headers
exchanges, bindings between exchanges and ``auto_delete`` of exchanges are not implemented, and
priorities are not capped by ``x-max-priority``. CLOCK_MONOTONIC must be common to all processes:
no time namespaces. Not for gevent and eventlet: a wait for the file blocks all their tasks.
A process stopped in the middle of a commit holds up all writers until it goes on or dies. Replace
the file only together with its ``-wal`` and ``-shm``.
"""

import kombu.transport

from messaging.transport.statistics import QueueStatistics, queue_statistics
from messaging.transport.transport import Transport

__all__ = ["QueueStatistics", "Transport", "queue_statistics"]

kombu.transport.TRANSPORT_ALIASES["sqlite"] = "messaging.transport:Transport"
