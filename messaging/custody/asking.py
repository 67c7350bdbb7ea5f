"""Asking receivers what became of messages that they have had for long."""

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

from messaging import codec
from messaging.custody import outbox
from messaging.custody.due import DueMessage
from messaging.custody.link import Link
from messaging.custody.outbox import ASK_SECONDS, Key
from messaging.custody.receipts import Question
from messaging.custody.sending import refuse
from messaging.envelope import utc_now
from messaging.errors import DecodeError, PublishError, PublishUncertain

logger = logging.getLogger(__name__)


def ask(
    link: Link,
    rows: Sequence[DueMessage],
    speakers: Collection[str] | None,
    is_received: Callable[[Key], bool],
) -> None:
    """Ask once for each custodian and receiver; they are looked at again after `ASK_SECONDS`.

    Also where a queue refuses the question: that is put on record, and the others are asked.

    Args:
        link: to the broker.
        rows: what to ask for.
        speakers: of several services in one database, each has keys of its own: in whose name
            this process can ask; None: in that of all.
        is_received: whether the receiver's row is here: open still, or settled just now.

    Raises:
        BrokerError, PublishUncertain: the broker is away; the others fall due again.
    """
    by_receiver: dict[tuple[str, str], list[tuple[Key, Question]]] = {}
    known = []
    for row in rows:
        if is_received(row.key):
            known.append(row.key)
            continue
        try:
            envelope = codec.decode(row.body)
        except DecodeError as exc:
            refuse(row.key, row.failures, exc)
            continue
        question = Question(
            envelope.id,
            envelope.generation,
            envelope.source,
            envelope.created_at.timestamp(),
        )
        receiver = envelope.custodian or envelope.source, row.key.target
        by_receiver.setdefault(receiver, []).append((row.key, question))
    _look_again(known)
    for (custodian, target), asked in by_receiver.items():
        error = ""
        if speakers is None or custodian in speakers:
            error = _ask_one(link, custodian, target, [question for _, question in asked])
        _look_again([key for key, _ in asked], error)


def _ask_one(link: Link, custodian: str, target: str, questions: Sequence[Question]) -> str:
    """Return why the receiver's queue refuses it; empty: it has been asked."""
    try:
        link.ask(custodian, target, questions)
    except PublishUncertain:
        raise
    except PublishError as exc:
        logger.warning("a question to %s was refused, again in %g s: %s", target, ASK_SECONDS, exc)
        return str(exc)
    return ""


def _look_again(keys: Sequence[Key], error: str = "") -> None:
    again = utc_now() + timedelta(seconds=ASK_SECONDS)
    outbox.postpone(keys, again, error, refused=False)
