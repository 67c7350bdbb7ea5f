"""What the evidence says of each promise."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from tests.soak.evidence import Evidence, Letter, instants, missing
from tests.soak.growth import Trend
from tests.soak.records import Sending
from tests.soak.turns import Span

#: How long before a broker loses everything a message may have been sent that it loses: what waits
#: longer waits in a database. Of a flood the last ones wait for minutes.
_ON_BROKER_SECONDS: Final = 60.0
_LOW_ON_BROKER_SECONDS: Final = 600.0
#: How long after its end a fault still explains what failed: a retry, a connection that is made
#: anew, a timeout.
_AFTERMATH_SECONDS: Final = 30.0
#: While these last, nothing reaches the broker: what is sent waits in a database, and a little
#: longer, until a relay has seen that the broker is back.
_AWAY: Final = ("broker restarted", "broker killed", "broker wiped", "network cut")
_RELAYED_SECONDS: Final = 10.0
#: How many of anything are listed; the counts have all.
_SHOWN: Final = 10
#: The faults that keep a database from being written: callers of NORMAL and up may see an error.
#: A frozen process may hold the lock.
_OF_DATABASE: Final = ("database locked", "disk full", "worker frozen")
#: The faults by which a process dies in the middle of a message.
_KILLS: Final = ("worker killed", "gateway worker killed")


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and whether it was kept."""

    name: str
    is_kept: bool
    text: str
    details: list[str] = field(default_factory=list)


def judge(evidence: Evidence, trends: Iterable[Trend]) -> list[Check]:
    """Return a check of every promise, in the order in which they are reported."""
    checks = [check(evidence) for check in _CHECKS]
    judged = [trend for trend in trends if trend.is_judged]
    growing = [trend for trend in judged if not trend.is_flat]
    checks.append(
        Check(
            "memory and files are flat over the second half",
            not growing,
            f"{len(growing)} of {len(judged)} that are judged grow",
            [
                f"{each.name}: {each.mb_an_hour:+.1f} MB/h, limit {each.limit:.1f}"
                for each in growing
            ],
        )
    )
    return checks


def _ledger(evidence: Evidence) -> Check:
    account = evidence.account
    return Check(
        "the ledger accounts for everything",
        account["unaccounted"] == 0 and account["in_flight"] == 0,
        f"{account['accepted']} accepted, {account['handled']} handled, "
        f"{account['parked']} parked, {account['expired']} expired, "
        f"{account['in_flight']} in flight, {account['unaccounted']} unaccounted, "
        f"{account['duplicates']} copies published again",
        [f"{each['service']} {each['id']}: {each['where']}" for each in account["messages"]][
            :_SHOWN
        ],
    )


def _critical(evidence: Evidence) -> Check:
    pairs = [
        (sending, service, evidence.effects[sending.message_id, service])
        for sending in _accepted(evidence)
        if sending.priority == "CRITICAL"
        for service in sending.receivers
    ]
    wrong = [each for each in pairs if each[2] != 1]
    return Check(
        "every accepted CRITICAL message has exactly one effect",
        not wrong,
        f"{len(pairs)} expected, {sum(each[2] == 0 for each in wrong)} have none, "
        f"{sum(each[2] > 1 for each in wrong)} several",
        [f"{_told(sending)} at {service}: {count}" for sending, service, count in wrong[:_SHOWN]],
    )


def _durable(evidence: Evidence) -> Check:
    """Kept like CRITICAL, but not tried for ever: a dead letter is an end as well."""
    parked = {(letter.message_id, letter.service) for letter in evidence.letters}
    pairs = [
        (sending, service, evidence.effects[sending.message_id, service])
        for sending in _accepted(evidence)
        if sending.priority != "CRITICAL" and sending.is_under_custody
        for service in sending.receivers
    ]
    wrong = [
        each
        for each in pairs
        if each[2] > 1 or (each[2] == 0 and (each[0].message_id, each[1]) not in parked)
    ]
    return Check(
        "every accepted durable message has one effect, or is a dead letter",
        not wrong,
        f"{len(pairs)} expected, {len(wrong)} wrong",
        [f"{_told(sending)} at {service}: {count}" for sending, service, count in wrong[:_SHOWN]],
    )


def _others(evidence: Evidence) -> Check:
    lost = [
        (sending, service)
        for sending, service in missing(evidence.sendings, evidence.effects, evidence.letters)
        if not sending.is_under_custody
    ]
    excused = _excused(evidence, [sending for sending, _ in lost])
    kept = [each for each in lost if each[0].number not in excused]
    expected = sum(
        len(sending.receivers) for sending in _accepted(evidence) if not sending.is_under_custody
    )
    reasons = Counter(excused[sending.number] for sending, _ in lost if sending.number in excused)
    return Check(
        "no other accepted message is lost, but what docs/guarantees.md allows",
        not kept,
        f"{expected} expected, {len(kept)} lost"
        + "".join(f", {count} allowed: {reason}" for reason, count in sorted(reasons.items())),
        [f"{_told(sending)} at {service}" for sending, service in kept[:_SHOWN]],
    )


def _excused(evidence: Evidence, lost: list[Sending]) -> dict[str, str]:
    """Return, by number, why a loss is allowed."""
    excused = {}
    empties = {"broker wiped": "the broker lost everything"}
    if evidence.broker == "amqp":
        empties["broker killed"] = "RabbitMQ confirms before fsync"
    for sending in lost:
        is_low = sending.priority == "LOW"
        until = _on_broker_at(evidence.spans, sending)
        until += _LOW_ON_BROKER_SECONDS if is_low else _ON_BROKER_SECONDS
        for span in evidence.spans:
            if span.name in empties and span.meets(sending.begun_at, until):
                excused[sending.number] = empties[span.name]
    return excused


def _on_broker_at(spans: list[Span], sending: Sending) -> float:
    """Return when the broker had a message at the latest."""
    at = sending.ended_at
    for span in sorted(spans, key=lambda span: span.begun_at):
        if span.name in _AWAY and span.meets(at, at, after_seconds=_RELAYED_SECONDS):
            at = span.ended_at + _RELAYED_SECONDS
    return at


def _invented(evidence: Evidence) -> Check:
    known = {sending.number for sending in evidence.sendings if sending.may_have_effect}
    invented = sorted(evidence.numbers - known)
    uncertain = sum(
        sending.number in evidence.numbers
        for sending in evidence.sendings
        if not sending.is_accepted
    )
    return Check(
        "no effect without an accepted message",
        not invented,
        f"{len(invented)} without; {uncertain} of messages whose sender could not know",
        invented[:_SHOWN],
    )


def _refused(evidence: Evidence) -> Check:
    """NORMAL and up are taken whatever becomes of the broker; the database has to be there."""
    refused = [
        sending
        for sending in evidence.sendings
        if sending.error and sending.how in ("command", "event") and sending.priority != "LOW"
    ]
    unexplained = [
        sending
        for sending in refused
        if not _explained(evidence, sending.begun_at, sending.ended_at, _OF_DATABASE)
    ]
    return Check(
        "callers of NORMAL and up see no error, unless the database cannot be written",
        not unexplained,
        f"{len(refused)} refused, {len(unexplained)} of them unexplained",
        [f"{_told(each)}: {each.error} {each.text}" for each in unexplained[:_SHOWN]],
    )


def _answers(evidence: Evidence) -> Check:
    asked = [each for each in evidence.sendings if each.how in ("request", "http")]
    wrong = [each for each in asked if each.error == "WrongAnswer"]
    others = Counter(each.error for each in asked if each.error and each not in wrong)
    return Check(
        "no request has the answer to another one",
        not wrong,
        f"{sum(not each.error for each in asked)} of {len(asked)} answered"
        + "".join(f", {count} {error}" for error, count in others.most_common()),
        [f"{_told(each)}: {each.text}" for each in wrong[:_SHOWN]],
    )


def _dead_letters(evidence: Evidence) -> Check:
    unexplained = [each for each in evidence.letters if not _letter_is_explained(evidence, each)]
    reasons = Counter(each.reason for each in evidence.letters)
    return Check(
        "every dead letter has a reason that a fault explains",
        not unexplained,
        f"{len(evidence.letters)} dead letters"
        + "".join(f", {count} {reason}" for reason, count in reasons.most_common()),
        [
            f"{each.type} {each.message_id} at {each.service}: {each.reason}: {each.error[:200]}"
            for each in unexplained[:_SHOWN]
        ],
    )


def _letter_is_explained(evidence: Evidence, letter: Letter) -> bool:
    explains = {
        "attempts_exhausted": _OF_DATABASE,
        "killed_worker": (*_KILLS, "worker frozen"),
        # A request whose caller has given up: whatever held it up for so long.
        "expired": tuple({span.name for span in evidence.spans}),
    }
    names = explains.get(letter.reason, ())
    if letter.reason == "attempts_exhausted" and "NowAndThen" in letter.error:
        return False  # it fails twice, and is tried far more often
    return any(
        _explained(evidence, at - _AFTERMATH_SECONDS, at, names)
        for at in instants(letter, evidence.spans)
    )


def _processes(evidence: Evidence) -> Check:
    ended = [f"{each.name} ended with {each.code}: {each.tail[-400:]}" for each in evidence.ended]
    if evidence.traffic_code:
        ended.append(f"the sender ended with {evidence.traffic_code}")
    return Check(
        "no process ended by itself",
        not ended,
        f"{len(ended)} ended",
        ended,
    )


def _explained(
    evidence: Evidence, begun_at: float, ended_at: float, names: tuple[str, ...]
) -> bool:
    return any(
        span.name in names and span.meets(begun_at, ended_at, after_seconds=_AFTERMATH_SECONDS)
        for span in evidence.spans
    )


def _accepted(evidence: Evidence) -> list[Sending]:
    return [sending for sending in evidence.sendings if sending.is_accepted]


def _told(sending: Sending) -> str:
    return f"{sending.priority} {sending.how} {sending.number} ({sending.message_id})"


_CHECKS: Final[tuple[Callable[[Evidence], Check], ...]] = (
    _ledger,
    _critical,
    _durable,
    _others,
    _invented,
    _refused,
    _answers,
    _dead_letters,
    _processes,
)
