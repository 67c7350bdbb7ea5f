"""What a change of one service would break among those that run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from messaging.contracts.contract import Contract, SentMessage
from messaging.contracts.gaps import Gap, Verdict
from messaging.contracts.inclusion import gaps_between
from messaging.patterns import is_literal, matches


class Grade(StrEnum):
    """How bad a finding is."""

    #: Messages would be refused.
    BREAKS = "breaks"
    #: Perhaps: the schemas say something that is not understood.
    UNKNOWN = "cannot tell"
    #: There was nothing to compare.
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a change does to somebody who runs."""

    grade: Grade
    #: What this service does with the message: ``sends``, ``accepts``, ``answers``.
    role: str
    type: str
    #: Who runs, and is concerned; empty: nobody does.
    service: str
    version: str
    #: Of the handler that gets the message, on whichever side it is; empty: there is none.
    handler: str
    #: Empty: the data as a whole.
    field: str
    text: str

    def to_json(self) -> dict[str, str]:
        """Return it as ``bus_contracts check --json`` prints it."""
        return {name: str(getattr(self, name)) for name in self.__slots__}

    def line(self) -> str:
        """Return it as one line for people."""
        sign = {"sends": "→", "accepts": "←", "answers": "⇢"}[self.role]
        who = f" {sign} {self.service} {self.version}".rstrip() if self.service else ""
        handler = f" (handler {self.handler})" if self.handler else ""
        where = f"{self.field}: " if self.field else ""
        return f"{self.grade}: {self.type}{who}{handler}: {where}{self.text}"


def check(new: Contract, running: Sequence[Contract]) -> list[Finding]:
    """Return what a new version would do to what runs, the worst first.

    Every document that a sender may send must be accepted by its receiver: what the new version
    sends by those that run and by itself, what those send by the new version, whose own version
    that runs is one of them. Where nobody declares to send what the new version accepts, what it
    accepted before stands for that.

    Args:
        new: the version that is not yet there.
        running: all that run, or wait to come back.
    """
    found = [
        *_of_what_it_sends(new, running),
        *_of_what_it_accepts(new, running),
        *_of_what_it_accepted(
            new, [each for each in running if each.service == new.service], running
        ),
    ]
    order = list(Grade)
    unique = dict.fromkeys(found)
    return sorted(unique, key=lambda each: (order.index(each.grade), each.type, each.service))


def between(sender: Contract, receiver: Contract) -> Iterator[Finding]:
    """Yield what a receiver does not take of what a sender declares, and of answers the reverse.

    The findings are the sender's; they name the receiver.
    """
    for sent in sender.sends:
        if sent.to not in (None, receiver.service):
            continue
        handler = receiver.handler_of(sent.type)
        if handler is None:
            if sent.to is not None:
                yield _finding("sends", sent.type, receiver, "", "it has no handler for that")
            continue
        accepted = receiver.accepts[handler]
        if sent.schema is not None and accepted.schema is not None:
            gaps = gaps_between(sent.schema, accepted.schema)
            yield from _findings("sends", sent.type, receiver, handler, gaps)
        if sent.answer is not None:
            yield from _of_answer(sent, accepted.answers, receiver, handler)


def _of_answer(
    sent: SentMessage, answers: Mapping[str, Any] | None, receiver: Contract, handler: str
) -> Iterator[Finding]:
    if answers is None:
        text = "it does not say what it answers"
        yield _finding("sends", sent.type, receiver, handler, text, Grade.NOTE)
        return
    assert sent.answer is not None
    for gap in gaps_between(answers, sent.answer):
        field = f"answer.{gap.field}" if gap.field else "answer"
        gaps = [Gap(field, gap.verdict, gap.text)]
        yield from _findings("sends", sent.type, receiver, handler, gaps)


def _of_what_it_sends(new: Contract, running: Sequence[Contract]) -> Iterator[Finding]:
    known = {each.service for each in running} | {new.service}
    for receiver in (*running, new):
        yield from between(new, receiver)
    for sent in new.sends:
        if sent.schema is None:
            yield _note("sends", sent.type, "its data have no JSON Schema: nothing is compared")
        if sent.to is not None and sent.to not in known:
            yield _note("sends", sent.type, f"no {sent.to} has ever registered")
    still_sent = {(sent.type, sent.to) for sent in new.sends}
    for old in (each for each in running if each.service == new.service):
        for sent in old.sends:
            if (sent.type, sent.to) not in still_sent:
                users = [each for each in running if _takes(each, sent) and each is not old]
                for user in users:
                    handler = user.handler_of(sent.type) or ""
                    text = "it is not declared as sent any more"
                    yield _finding("sends", sent.type, user, handler, text, Grade.NOTE)


def _of_what_it_accepts(new: Contract, running: Sequence[Contract]) -> Iterator[Finding]:
    """Yield what the new version would not take of what those send that run."""
    for sender in running:
        for finding in between(sender, new):
            is_of_answer = finding.field == "answer" or finding.field.startswith("answer.")
            is_gone = not finding.handler
            yield Finding(
                grade=finding.grade,
                role="answers" if is_of_answer else "accepts",
                type=finding.type,
                service=sender.service,
                version=sender.version,
                handler=finding.handler,
                field=finding.field,
                text="nothing would handle it" if is_gone else finding.text,
            )


def _of_what_it_accepted(
    new: Contract, own: Iterable[Contract], running: Sequence[Contract]
) -> Iterator[Finding]:
    """Yield what the new version takes no longer of what nobody declares to send."""
    sent = [(sender.service, each) for sender in running for each in sender.sends]
    declared = [each for _, each in sent if each.to in (None, new.service)]
    for old in own:
        for pattern, before in old.accepts.items():
            senders = [each for each in declared if matches(pattern, each.type)]
            is_declared = bool(senders) and pattern not in old.routed
            handler = new.handler_of(pattern) if is_literal(pattern) else pattern
            after = new.accepts.get(handler or "")
            if after is None:
                if not is_declared:
                    text = "it is accepted now, and nothing would handle it"
                    yield _finding("accepts", pattern, old, pattern, text)
                continue
            if not is_declared and after.schema is not None:
                if before.schema is None:
                    text = "no schema was published before: nothing is compared"
                    yield _finding("accepts", pattern, old, handler or "", text, Grade.NOTE)
                else:
                    gaps = gaps_between(before.schema, after.schema)
                    yield from _findings("accepts", pattern, old, handler or "", gaps)
            if before.answers is not None and not any(each.answer for each in senders):
                if after.answers is None:
                    text = "it does not say any more what it answers"
                    yield _finding("answers", pattern, old, handler or "", text, Grade.UNKNOWN)
                else:
                    gaps = gaps_between(after.answers, before.answers)
                    yield from _findings("answers", pattern, old, handler or "", gaps)


def _takes(receiver: Contract, sent: SentMessage) -> bool:
    return sent.to in (None, receiver.service) and receiver.handler_of(sent.type) is not None


def _findings(
    role: str, message_type: str, other: Contract, handler: str, gaps: Iterable[Gap]
) -> Iterator[Finding]:
    for gap in gaps:
        yield Finding(
            grade=Grade.BREAKS if gap.verdict is Verdict.BREAKS else Grade.UNKNOWN,
            role=role,
            type=message_type,
            service=other.service,
            version=other.version,
            handler=handler,
            field=gap.field,
            text=gap.text,
        )


def _finding(
    role: str,
    message_type: str,
    other: Contract,
    handler: str,
    text: str,
    grade: Grade = Grade.BREAKS,
) -> Finding:
    return Finding(
        grade=grade,
        role=role,
        type=message_type,
        service=other.service,
        version=other.version,
        handler=handler,
        field="",
        text=text,
    )


def _note(role: str, message_type: str, text: str) -> Finding:
    return Finding(
        grade=Grade.NOTE,
        role=role,
        type=message_type,
        service="",
        version="",
        handler="",
        field="",
        text=text,
    )
