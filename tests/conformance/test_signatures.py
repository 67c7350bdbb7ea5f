"""Where messages are signed: what somebody does who can reach the broker, and what stops it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from messaging import MessagePriority, RemoteError, RequestTimeout, codec
from messaging.bus import MessageBus
from messaging.codec import CONTENT_ENCODING, CONTENT_TYPE
from messaging.custody.receipts import Entry, receipt_message
from messaging.deadletter import DeadLetter
from messaging.envelope import Envelope, MessageKind, new_message_id, utc_now
from messaging.signing import NO_KEYS
from messaging.wire import WireMessage, to_wire
from messaging.worker.consumption import COMMAND
from tests.conformance.test_bad_messages import parked
from tests.support.brokers import Features
from tests.support.installation import Installation
from tests.support.waiting import eventually

KEY = f"2026a:{'s' * 40}"
FORGED = f"2026a:{'f' * 40}"
pytestmark = pytest.mark.promise(
    "where messages are signed, what is forged, repeated or misdirected is parked, not run"
)


@pytest.fixture(scope="module")
def signed(
    features: Features, tmp_path_factory: pytest.TempPathFactory, migrated_database: Path
) -> Iterator[Installation]:
    """An installation that signs, with one worker."""
    folder = tmp_path_factory.mktemp(f"signed-{features.name}")
    installation = Installation(features, folder, migrated_database)
    # The gateway has a key of its own, which nobody else may use.
    installation.settings["signing_keys"] = f"{KEY},gate@api-gateway:{'g' * 40}"
    try:
        installation.start_worker("probe")
        yield installation
    finally:
        installation.close()


def a_command(**changes: Any) -> Envelope:
    values: dict[str, Any] = {
        "id": new_message_id(),
        "type": "work",
        "kind": MessageKind.COMMAND,
        "source": "tester",
        "target": "probe",
        "data": {"amount": 1},
        "created_at": utc_now(),
        "correlation_id": "c",
    }
    return Envelope(**{**values, **changes})


def put(
    installation: Installation,
    envelope: Envelope,
    body: str,
    queue: str | None = None,
    **headers: Any,
) -> None:
    """Put a body on the broker, as anybody can who reaches it."""
    bus = installation.communicator().bus
    message = to_wire(
        envelope, body, bus.topology.priority_number(envelope.priority), expires=False
    )
    _put(bus, queue or bus.topology.queue_name("probe"), message, headers)


def _put(bus: MessageBus, queue: str, message: WireMessage, headers: dict[str, Any]) -> None:
    with bus.connection() as connection:
        channel = connection.channel()
        prepared = channel.prepare_message(
            message.body,
            content_type=CONTENT_TYPE,
            content_encoding=CONTENT_ENCODING,
            headers={**message.headers, **headers},
            properties=dict(message.properties),
            priority=message.priority,
        )
        channel.basic_publish(prepared, exchange="", routing_key=queue)


def encoded(installation: Installation, envelope: Envelope, keys: str = KEY) -> str:
    return installation.communicator(envelope.source, signing_keys=keys).bus.encode(envelope)


def altered(text: str, **changes: Any) -> str:
    ((mapping,), *rest) = json.loads(text)
    return json.dumps([[{**mapping, **changes}], *rest])


Attack = Callable[[Installation, Envelope], str]
ATTACKS: dict[str, Attack] = {
    "not signed": lambda _installation, envelope: codec.encode(envelope, None),
    "signed with another secret": lambda one, envelope: encoded(one, envelope, FORGED),
    "signed with a key that nobody knows": lambda one, envelope: encoded(
        one, envelope, f"2019:{'s' * 40}"
    ),
    "no signature at all in its place": lambda one, envelope: altered(
        encoded(one, envelope), signature="2026a"
    ),
    "other data": lambda one, envelope: altered(encoded(one, envelope), data={"amount": 1_000}),
    "another id": lambda one, envelope: altered(encoded(one, envelope), id=new_message_id()),
    "another source": lambda one, envelope: altered(encoded(one, envelope), source="friend"),
    "another type": lambda one, envelope: altered(encoded(one, envelope), type="fail"),
    "another priority": lambda one, envelope: altered(encoded(one, envelope), priority="CRITICAL"),
    "younger than it is": lambda one, envelope: altered(
        encoded(one, envelope), created_at="2099-01-01T00:00:00+00:00"
    ),
    "another generation": lambda one, envelope: altered(encoded(one, envelope), generation=1),
    "another custodian": lambda one, envelope: altered(
        encoded(one, envelope), custodian="api-gateway"
    ),
    "more than was said": lambda one, envelope: altered(encoded(one, envelope), admin=True),
    "said to another service": lambda one, envelope: encoded(
        one, replace(envelope, target="billing")
    ),
    "by a service in the name of another": lambda one, envelope: altered(
        encoded(one, envelope), custodian="friend"
    ),
    "with the gateway's key by another": lambda one, envelope: altered(
        encoded(one, envelope),
        signature=encoded_signature(one, replace(envelope, source="api-gateway")),
    ),
}


def encoded_signature(installation: Installation, envelope: Envelope) -> str:
    text = encoded(installation, envelope, f"gate@api-gateway:{'g' * 40}")
    signature = json.loads(text)[0][0]["signature"]
    assert signature.startswith("gate:")
    return str(signature)


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_not_of_who_it_says_is_parked_and_not_run(signed: Installation, name: str) -> None:
    parked(signed)
    envelope = a_command()
    put(signed, envelope, ATTACKS[name](signed, envelope))
    (letter,) = wait_for_letters(signed)
    assert (letter.reason, letter.service) == ("bad_signature", "probe")
    # Not under the id it claims: that may be another message's.
    assert letter.envelope is not None
    assert letter.message_id != letter.envelope["id"]
    assert_works(signed)
    assert signed.journal("probe").lines(event="handled", id=envelope.id) == []


def test_the_same_forgery_a_hundred_times_is_one_dead_letter(signed: Installation) -> None:
    parked(signed)
    envelope = a_command()
    for _ in range(100):
        put(signed, envelope, codec.encode(envelope, None))
    letters = wait_for_letters(signed)
    assert_works(signed)
    assert len(letters + parked(signed)) == 1


def test_a_command_that_somebody_has_seen_and_sends_again_is_not_run_again(
    signed: Installation,
) -> None:
    parked(signed)
    envelope = a_command()
    body = encoded(signed, envelope)
    put(signed, envelope, body)

    def handled() -> list[dict[str, Any]]:
        return signed.journal("probe").lines(event="handled", id=envelope.id)

    eventually(handled)
    assert_works(signed)  # what is handled is on record a moment later
    put(signed, envelope, body)
    (letter,) = wait_for_letters(signed)
    assert (letter.reason, letter.message_id) == ("bad_signature", envelope.id)
    assert letter.may_have_been_handled
    # Said to be sent again by its own sender: no alarm, and no effect either.
    put(signed, envelope, body, publishes=2)
    assert_works(signed)
    assert len(handled()) == 1


def test_a_request_that_somebody_has_seen_and_sends_again_is_not_run_again(
    signed: Installation,
) -> None:
    parked(signed)
    asker = signed.communicator()
    envelope = a_command(kind=MessageKind.REQUEST, expires_at=utc_now() + timedelta(days=2))
    put(signed, envelope, encoded(signed, envelope))
    (letter,) = wait_for_letters(signed)
    assert "has to expire within" in letter.error
    envelope = replace(envelope, id=new_message_id(), expires_at=utc_now() + timedelta(seconds=60))
    body = encoded(signed, envelope)
    for _ in range(2):
        put(signed, envelope, body)
    (letter,) = wait_for_letters(signed)
    assert (letter.reason, letter.message_id) == ("bad_signature", envelope.id)
    assert asker.request("probe", "echo", 1, timeout=10) == 1
    assert len(signed.journal("probe").lines(event="handled", id=envelope.id)) == 1


def test_an_answer_that_is_forged_is_not_taken_and_the_true_one_is(signed: Installation) -> None:
    asker = signed.communicator(request_timeout_seconds=10)
    requester = asker._requester
    request, seconds = requester.compose(
        "probe", "echo", "true", timeout=10, priority="HIGH", correlation_id=None, headers=None
    )
    publish = requester._publish

    def forge_first(envelope: Envelope) -> None:
        assert envelope.reply_to is not None
        for source, keys in (("probe", FORGED), ("stranger", KEY)):
            reply = a_command(
                kind=MessageKind.REPLY,
                source=source,
                target="tester",
                data="forged",
                causation_id=envelope.id,
            )
            put(signed, reply, encoded(signed, reply, keys), envelope.reply_to)
        publish(envelope)

    requester._publish = forge_first  # type: ignore[method-assign]
    assert requester.ask(request, seconds) == "true"


def test_a_service_may_only_be_told_what_it_takes_from_whom(signed: Installation) -> None:
    parked(signed)
    friend = signed.communicator("friend")
    assert friend.request("probe", "of.friends", {}, timeout=10) == "for friends"
    stranger = signed.communicator()
    with pytest.raises(RemoteError) as caught:
        stranger.request("probe", "of.friends", {}, timeout=10)
    assert caught.value.code == "forbidden"
    message_id = stranger.send_to_service("probe", "of.friends", {})
    (letter,) = wait_for_letters(signed)
    assert (letter.message_id, letter.reason) == (message_id, "rejected")
    assert letter.error == "tester may not send of.friends"


def test_no_receipt_but_the_receivers_own_ends_a_critical_message(
    installation: Installation,
) -> None:
    installation.settings["signing_keys"] = KEY
    installation.start_worker("sender")
    (message_id,) = installation.send(
        [{"target": "absent", "type": "work", "priority": MessagePriority.CRITICAL}]
    )
    database = installation.database()

    def state() -> str:
        query = "SELECT state FROM messaging_outboxmessage WHERE message_id = ?"
        return str(database.execute(query, [message_id]).fetchone()[0])

    bus = installation.communicator().bus
    entry = [Entry(message_id, 0, "handled")]
    forger = installation.communicator("absent", signing_keys=FORGED).bus
    for message in (
        receipt_message("absent", entry, NO_KEYS),
        receipt_message("absent", entry, forger.keyring),
        receipt_message("sender", entry, bus.keyring),
    ):
        _put(bus, bus.topology.custody_queue("tester").name, message, {})
    installation.start_worker("tester")  # reads them
    custody = bus.topology.custody_queue("tester")

    def is_read() -> bool:
        with bus.publisher() as publisher:
            return publisher.queue_length(custody.name) == 0

    eventually(is_read)
    assert state() in ("pending", "published")
    installation.start_worker("absent")
    eventually(lambda: state() == "handled", 30)


def test_workers_take_no_orders_by_remote_control_that_are_not_signed(
    signed: Installation,
) -> None:
    app = signed.communicator("api-gateway").celery_app

    def told(command: str, **arguments: Any) -> str:
        answers = app.control.broadcast(
            command, arguments=arguments, reply=True, timeout=5, limit=1
        )
        (answer,) = [answer for one in answers for answer in one.values()]
        return str(answer.get("error"))

    for command in ("shutdown", "pool_restart", "revoke", "add_consumer", "rate_limit"):
        assert "refused" in told(command, task_id="x", queue="x", task_name="x", rate_limit="1/s")
    said = {"service": "probe", "is_paused": True, "reason": "because"}
    assert "not signed" in told(COMMAND, **said)
    keyring = signed.communicator(signing_keys=FORGED).bus.keyring
    fresh = {**said, "said_at": utc_now().isoformat()}
    forged = keyring.sign("control", fresh, "api-gateway")
    assert "does not fit" in told(COMMAND, **fresh, signature=forged)
    keyring = signed.communicator("api-gateway").bus.keyring
    old = {**said, "said_at": "2026-01-01T00:00:00+00:00"}
    signature = keyring.sign("control", old, "api-gateway")
    assert "s ago" in told(COMMAND, **old, signature=signature)
    assert_works(signed)


def test_a_password_is_not_told_by_remote_control(signed: Installation) -> None:
    app = signed.communicator("api-gateway").celery_app
    answers = app.control.broadcast("conf", reply=True, timeout=5, limit=1)
    ((settings,),) = [list(answer.values()) for answer in answers]
    assert "guest:guest" not in json.dumps(settings)
    assert settings["broker_url"] == settings["broker_read_url"] == settings["broker_write_url"]


@pytest.mark.embedded_only
def test_a_key_is_changed_without_a_pause(installation: Installation) -> None:
    """First everybody knows the new one, then everybody signs with it, then the old one goes."""
    new = f"2026b:{'n' * 40}"
    asked = 0

    def assert_answered(*senders: str) -> None:
        nonlocal asked
        for keys in senders:
            asked += 1
            sender = installation.communicator(signing_keys=keys)
            assert sender.request("probe", "echo", asked, timeout=10) == asked

    installation.settings["signing_keys"] = KEY
    steps = (KEY, f"{KEY},{new}", f"{new},{KEY}", new)
    for before, now in pairwise(steps):
        # The worker has the new setting, a sender the one before, or the other way round.
        for worker, sender in ((now, before), (before, now)):
            installation.start_worker("probe", MESSAGING_SIGNING_KEYS=worker)
            assert_answered(worker, sender)
            installation.stop("probe")
    installation.start_worker("probe", MESSAGING_SIGNING_KEYS=new)
    with pytest.raises(RequestTimeout):
        installation.communicator().request("probe", "echo", 0, timeout=1)


@pytest.mark.embedded_only
def test_while_keys_are_given_out_what_is_not_signed_is_believed_until_an_instant(
    installation: Installation,
) -> None:
    installation.settings["signing_keys"] = KEY
    plain = installation.communicator(signing_keys="")
    installation.start_worker("probe", MESSAGING_UNSIGNED_UNTIL="2099-01-01T00:00:00+00:00")
    plain.send_to_service("probe", "work", {"n": 1})
    journal = installation.journal("probe")
    eventually(lambda: len(journal.lines(event="handled")) == 1)
    installation.stop("probe")
    installation.start_worker("probe", MESSAGING_UNSIGNED_UNTIL="2020-01-01T00:00:00+00:00")
    plain.send_to_service("probe", "work", {"n": 2})
    (letter,) = wait_for_letters(installation)
    assert letter.error == "BadSignature: it is not signed"


def wait_for_letters(installation: Installation) -> list[DeadLetter]:
    letters: list[DeadLetter] = []
    eventually(lambda: letters.extend(parked(installation)) or letters)
    return letters


def assert_works(installation: Installation) -> None:
    """The worker lives, and handles what is properly signed; what came before is settled."""
    sender = installation.communicator()
    message_id = sender.send_to_service("probe", "work", {})
    journal = installation.journal("probe")
    eventually(lambda: journal.lines(event="handled", id=message_id))
    assert sender.request("probe", "echo", "on", timeout=10) == "on"
