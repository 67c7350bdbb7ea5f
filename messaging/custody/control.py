"""The thread that reads ``<service>.custody``: receipts for what this database sent, questions.

Apart from the pool, where busy handlers would hold up receipts, and so cause copies.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from django.db import DatabaseError, DataError
from kombu.message import Message

from messaging.custody import hot, inbox, outbox
from messaging.custody.link import Link
from messaging.custody.outbox import Key
from messaging.custody.receipts import SETTLED, UNKNOWN, Ask, Entry, Receipt, read
from messaging.database_threads import close_database, write_transaction
from messaging.errors import BrokerUnavailable, DecodeError
from messaging.forking import no_fork_meanwhile
from messaging.models import InboxMessage, OutboxState
from messaging.queue_reader import QueueReader

if TYPE_CHECKING:
    from messaging.bus import MessageBus

logger = logging.getLogger(__name__)

#: Messages delivered ahead of their acknowledgement.
PREFETCH: Final = 100


class Control:
    """Applies what comes on the custody queue of one service, a round in one transaction."""

    def __init__(self, bus: "MessageBus", service: str) -> None:
        self._service = service
        self._link = Link(bus)
        self._keyring = bus.keyring
        self._round: list[Message] = []
        self._reader = QueueReader(
            bus.connection,
            bus.topology.custody_queue(service),
            self._round.append,
            timeout_seconds=bus.config.broker_timeout_seconds,
            on_round=self._apply_round,
            on_state=self._changed,
            prefetch=PREFETCH,
        )

    def start(self) -> None:
        """Start the thread."""
        self._reader.start()

    def stop(self) -> None:
        """Stop after the round in hand."""
        self._reader.stop()

    def _changed(self, is_consuming: bool, _error: BaseException | None) -> None:
        self._round.clear()
        if not is_consuming:  # maybe for good: the thread may end now
            close_database()

    def _apply_round(self) -> None:
        if not self._round:
            return
        messages, self._round[:] = list(self._round), []
        try:
            answers = self._apply(messages)
        except DatabaseError as exc:
            close_database()
            # Not acknowledged: they come again on the next connection.
            raise BrokerUnavailable(f"receipts could not be applied: {exc}") from exc
        for message in messages:
            message.ack()
        for custodian, entries in answers.items():
            self._link.tell(custodian, self._service, entries)

    def _apply(self, messages: list[Message]) -> dict[str, list[Entry]]:
        receipts: list[Receipt] = []
        asks: list[Ask] = []
        for message in messages:
            try:
                said = read(message.headers.get("task"), message.body, self._keyring)
            except DecodeError as exc:
                self._drop(exc)
            else:
                if isinstance(said, Receipt):
                    receipts.append(said)
                else:
                    asks.append(said)
        answers: dict[str, list[Entry]] = defaultdict(list)
        with no_fork_meanwhile(), write_transaction(to_disk=False):
            self._apply_receipts(receipts)
            for ask in asks:
                try:
                    with write_transaction():  # a savepoint
                        answers[ask.custodian] += answer_to(ask, self._service)
                except DataError as exc:
                    self._drop(exc)
        return answers

    def _apply_receipts(self, receipts: list[Receipt]) -> None:
        try:
            with write_transaction():  # a savepoint
                apply_receipts(receipts)
        except DataError as exc:
            logger.warning("%s.custody: now one by one: %s", self._service, exc)
            for receipt in _one_by_one(receipts):
                self._apply_alone(receipt)

    def _apply_alone(self, receipt: Receipt) -> None:
        try:
            with write_transaction():  # a savepoint
                apply_receipts([receipt])
        except DataError as exc:
            self._drop(exc)

    def _drop(self, error: Exception) -> None:
        logger.warning("%s.custody: dropped: %s", self._service, error)


def apply_receipts(receipts: Iterable[Receipt]) -> None:
    """Note what receivers say of messages sent to them. What was not sent to them is ignored."""
    for receipt in _one_by_one(receipts):
        (entry,) = receipt.entries
        key = _key(receipt)
        if entry.outcome == OutboxState.ACCEPTED:
            outbox.accepted(key)
        elif entry.outcome == UNKNOWN:
            outbox.note_unknown(key)
        elif entry.outcome == SETTLED:
            # Only what was handled or had expired is ever forgotten.
            outbox.settle(key, OutboxState.HANDLED, "the receiver has settled and forgotten it")
        else:
            outbox.settle(key, entry.outcome, entry.reason)


def _one_by_one(receipts: Iterable[Receipt]) -> list[Receipt]:
    """Return a receipt for each entry: by key, of the same key in the order they came in.

    Others change several rows at a time as well (marks, holding), in this same order. In another
    one, two would wait for each other's rows.
    """
    singles = [
        Receipt(receipt.service, (entry,)) for receipt in receipts for entry in receipt.entries
    ]
    return sorted(singles, key=_key)


def _key(receipt: Receipt) -> Key:
    entry = receipt.entries[0]
    return Key(entry.message_id, receipt.service, entry.generation)


def answer_to(ask: Ask, service: str) -> list[Entry]:
    """Have outcomes told again, and return an answer for what no row is left of."""
    answers = []
    for question in ask.about:
        message_id, generation = question.message_id, question.generation
        row = InboxMessage.objects.filter(message_id=message_id, service=service).first()
        if row is None:
            horizon = hot.horizon_of(service, question.source, in_custody=True)
            is_forgotten = horizon is not None and question.created_at <= horizon.timestamp()
            outcome = SETTLED if is_forgotten else UNKNOWN
            answers.append(Entry(message_id, generation, outcome))
        elif row.generation == generation and row.custodian == ask.custodian:
            inbox.owe(Key(message_id, service, generation))
        elif row.generation > generation:
            # Only what was given up is ever reopened, so that was the outcome before.
            answers.append(Entry(message_id, generation, OutboxState.PARKED.value))
    return answers
