"""Custody: a message is a row in somebody's database until its outcome is known.

::

    sender's database                 broker                  receiver's database
    outbox row ──── handoff, relay ──► work queue ──────────► inbox row ── handler
      pending                          (may lose, double,       ready, running, waiting
      published                         or delay anything)        │
      accepted ◄── control ◄── queue <sender>.custody ◄── relay ──┘ owes a receipt
      handled, parked, expired                                  handled, parked, expired

Broker messages are wake-up calls. Every change of a row is one statement guarded by the row's
state, and by the token of the run where a run owns the row: nothing changed means that somebody
else was first. Clocks decide when work is done again, never whether a handler's effect counts.

The protocol, its counter-examples and what was checked of it: ``docs/custody.md``.
"""
