"""The client of clients/node as a real process beside Python's workers, on RabbitMQ."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from kombu import Connection

from messaging import RemoteError, ServiceNotFound, codec
from messaging.envelope import Envelope, MessageKind, MessagePriority, new_message_id, utc_now
from tests.support.brokers import BROKERS, require
from tests.support.installation import ROOT, Installation
from tests.support.journal import Journal
from tests.support.node import require_node
from tests.support.outage import Proxy
from tests.support.processes import Process
from tests.support.waiting import eventually

SERVICE = "parcels"
PAUSES = (1, 2, 5, 10)


class Stack:
    """The gateway, a Python service and one in Node."""

    def __init__(self, folder: Path, database: Path, **settings: str) -> None:
        self.program = require_node()
        require(BROKERS["amqp"])
        self.installation = Installation(BROKERS["amqp"], folder, database)
        # Both are only for tests to be quick.
        self.installation.settings |= {"heartbeat_seconds": 1.0, **settings}
        parts = urlsplit(self.installation.url)
        self.proxy = Proxy(parts.hostname or "", parts.port or 5672)
        netloc = f"{parts.username}:{parts.password}@127.0.0.1:{self.proxy.port}"
        self._url = urlunsplit(parts._replace(netloc=netloc))
        self.python = self.installation.journal("user-service")
        self.node = self.installation.journal(SERVICE)
        self.installation.start("api-gateway", "celery", "-A", "gateway_app", "worker")
        self.probe = self.start_node()
        patterns = ("work", "get.user.details", "parcel.shipped", "topic.#")
        self.installation.start_worker("user-service", patterns=patterns)
        self.communicator = self.installation.communicator()

    def start_node(self, *, wait: bool = True, **env: str) -> Process:
        before = len(self.node.lines(event="ready"))
        process = self.installation.start_program(
            SERVICE,
            self.program,
            str(ROOT / "tests/support/node_probe.mjs"),
            PROBE_SERVICE=SERVICE,
            PROBE_JOURNAL=str(self.node.path),
            PROBE_URL=self._url,
            **env,
        )
        if wait:
            eventually(lambda: len(self.node.lines(event="ready")) > before, 30, "Node is ready")
        return process

    def send(self, message_type: str, data: Any = None, **options: Any) -> str:
        return self.communicator.send_to_service(SERVICE, message_type, data, **options)

    def ask_node(self, what: str, **arguments: Any) -> Any:
        """Have the service in Node do something with its client."""
        return self.communicator.request(SERVICE, what, arguments)

    def manage(self, *arguments: str) -> Any:
        done = self.installation.manage(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    def letters(self) -> dict[str, Any]:
        return {letter["id"]: letter for letter in self.manage("bus_dead_letters", "--json")}

    def close(self) -> None:
        with Connection(self.installation.url) as connection:
            for seconds in PAUSES:
                name = f"{self.installation.namespace}.{SERVICE}.later.{seconds}"
                connection.channel().queue_delete(name)
        self.installation.close()


def handled(journal: Journal, message_id: str) -> dict[str, Any]:
    (line,) = eventually(lambda: journal.lines(event="handled", id=message_id), 20, message_id)
    return dict(line)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("node"), migrated_database)
    try:
        yield stack
    finally:
        stack.close()


def test_python_asks_node(stack: Stack) -> None:
    data = {"text": "ü𝄞", "big": 2**60, "half": 0.5, "list": [None, True, {}]}
    assert stack.communicator.request(SERVICE, "echo", data) == data
    with pytest.raises(RemoteError, match="this will never do") as refused:
        stack.communicator.request(SERVICE, "reject")
    assert (refused.value.type, refused.value.code) == ("Reject", "not_found")
    with pytest.raises(RemoteError) as unknown:
        stack.communicator.request(SERVICE, "never.heard.of")
    assert unknown.value.code == "no_handler"
    with pytest.raises(RemoteError, match="tester may not send") as foreign:
        stack.communicator.request(SERVICE, "of.friends")
    assert foreign.value.code == "forbidden"


def test_node_asks_python(stack: Stack) -> None:
    asked = {"target": "user-service", "data": {"n": 1.5}}
    assert stack.ask_node("ask", type="echo", **asked) == {"n": 1.5}
    with pytest.raises(RemoteError, match=r"ValueError: .*n") as failed:
        stack.ask_node("ask", type="fail", **asked)
    assert failed.value.type == "RemoteError"
    with pytest.raises(RemoteError, match="nobody has ever started") as missing:
        stack.ask_node("ask", type="echo", target="nobody")
    assert missing.value.type == "ServiceNotFound"
    slow = {"target": "user-service", "type": "work", "data": {"seconds": 0.5}}
    with pytest.raises(RemoteError, match=r"within 0\.1 s") as late:
        stack.ask_node("ask", **slow, options={"timeout": 0.1})
    assert late.value.type == "RequestTimeout"


def test_node_sends_what_python_handles(stack: Stack) -> None:
    options = {"priority": "HIGH", "headers": {"tenant": "acme"}}
    sent = stack.ask_node(
        "send", target="user-service", type="work", data={"n": 1}, options=options
    )
    line = stack.python.lines(event="begun", id=handled(stack.python, sent)["id"])[0]
    assert (line["data"], line["priority"]) == ({"n": 1}, "HIGH")
    assert line["headers"] == {"tenant": "acme"}
    # It continues the conversation of the request during which it was sent.
    assert line["correlation_id"] == line["causation_id"] != sent
    # Under one key it is one message.
    once = {"target": "user-service", "type": "work", "options": {"dedupKey": "order/7"}}
    first, second = stack.ask_node("send", **once), stack.ask_node("send", **once)
    assert first == second
    last = stack.ask_node("send", target="user-service", type="work")
    assert handled(stack.python, first)
    assert handled(stack.python, last)
    assert len(stack.python.lines(event="begun", id=first)) == 1


def test_what_node_cannot_keep_it_refuses_to_send(stack: Stack) -> None:
    critical = {"target": "user-service", "type": "work", "options": {"priority": "CRITICAL"}}
    with pytest.raises(RemoteError, match=r"has no outbox.*NOT sent") as refused:
        stack.ask_node("send", **critical)
    assert refused.value.type == "Unsupported"
    critical["options"] = {"priority": "CRITICAL", "withoutCustody": True}
    sent = stack.ask_node("send", **critical)
    line = handled(stack.python, sent)
    assert stack.python.lines(event="begun", id=line["id"])[0]["priority"] == "CRITICAL"


def test_broadcasts_go_both_ways(stack: Stack) -> None:
    to_node = stack.communicator.broadcast("topic.a.end", {"n": 1})
    stack.communicator.broadcast("topic.a.b.end", {"n": 2})  # matches Python's pattern alone
    assert handled(stack.node, to_node)["data"] == {"n": 1}
    from_node = stack.ask_node("broadcast", type="topic.b.end", data={"n": 3})
    assert handled(stack.python, from_node)["data"] == {"n": 3}
    assert handled(stack.node, from_node)["data"] == {"n": 3}  # it subscribes to it as well
    assert {line["data"]["n"] for line in stack.node.lines(type="topic.a.b.end")} == set()


def test_what_fails_is_tried_again_and_then_handled(stack: Stack) -> None:
    failing, again = stack.send("fail.twice", {"n": 1}), stack.send("again")
    assert handled(stack.node, failing)["attempt"] == 3
    attempts = [line["attempt"] for line in stack.node.lines(event="attempt", id=failing)]
    assert attempts == [1, 2, 3]
    both = eventually(lambda: stack.node.lines(event="attempt", id=again)[1:], 15)
    assert both[0]["attempt"] == 2


def test_what_node_gives_up_is_a_dead_letter_and_can_be_replayed(stack: Stack) -> None:
    failing = stack.send("fail", {"works": False})
    unknown = stack.send("never.heard.of")
    late = stack.send("work", expires_in=0.0)
    rejected = stack.send("reject")
    with Connection(stack.installation.url) as connection:
        queue = f"{stack.installation.namespace}.{SERVICE}"
        options = {"routing_key": queue, "headers": {"task": "os.system"}, "retry": True}
        connection.Producer().publish("{nonsense", content_type="application/json", **options)
    query = "SELECT count(*) FROM gateway_app_deadletter"
    eventually(lambda: stack.installation.database().execute(query).fetchone()[0] >= 5, 30)
    letters = stack.letters()
    found = {name: letters[name] for name in (failing, unknown, late, rejected)}
    reasons = [letter["reason"] for letter in found.values()]
    assert reasons == ["attempts_exhausted", "no_handler", "expired", "rejected"]
    assert found[failing]["attempts"] == 2
    assert found[failing]["error"] == "RangeError: no such parcel"
    assert found[failing]["service"] == SERVICE
    (invalid,) = (letter for letter in letters.values() if letter["reason"] == "invalid")
    assert "os.system" in invalid["error"]
    # The gateway answers for a replay, and is told what became of it.
    edited = stack.manage("bus_edit", failing, '{"works": true}', "--key", "k").strip()
    eventually(lambda: stack.node.lines(event="attempt", id=edited), 20, "the replay")
    state = "SELECT state FROM messaging_outboxmessage WHERE message_id = ?"
    rows = stack.installation.database()
    eventually(lambda: rows.execute(state, (edited,)).fetchall() == [("handled",)], 20)


def test_a_critical_message_is_handled_once_and_its_sender_is_told(stack: Stack) -> None:
    sends = {"target": SERVICE, "options": {"priority": "CRITICAL"}}
    state = "SELECT state, reason FROM messaging_outboxmessage WHERE message_id = ?"
    rows = stack.installation.database()

    def outcome(message_id: str) -> Any:
        return rows.execute(state, (message_id,)).fetchall()

    ask = stack.communicator.request
    sent = ask("user-service", "send", {**sends, "type": "again"})
    refused = ask("user-service", "send", {**sends, "type": "reject"})
    eventually(lambda: outcome(sent) == [("handled", "")], 20, "the receipt")
    eventually(lambda: outcome(refused) == [("parked", "this will never do")], 20, "the receipt")
    assert len(stack.node.lines(event="handled", id=sent)) == 1
    # A critical broadcast comes as a copy that the gateway answers for.
    (event,) = stack.installation.send([{"type": "topic.c.end", "priority": "CRITICAL"}])
    copies = f"{state} AND target = '{SERVICE}'"
    eventually(lambda: rows.execute(copies, (event,)).fetchall() == [("handled", "")], 20)
    assert handled(stack.node, event)["priority"] == "CRITICAL"
    # Its sender was not told, and says it again: it is told, and nothing happens twice. Nor after
    # a start: its inbox is a file.
    say_again = (
        "UPDATE messaging_outboxmessage SET state = 'published', due_at = ?, settled_at = NULL,"
        " first_published_at = NULL WHERE message_id = ?"
    )
    for restarts in (False, True):
        if restarts:
            stack.probe.kill()
            stack.probe = stack.start_node()
        rows.execute(say_again, (utc_now().replace(tzinfo=None).isoformat(" "), sent))
        eventually(lambda: outcome(sent) == [("handled", "")], 20, "the next receipt")
        assert len(stack.node.lines(event="handled", id=sent)) == 1


def test_the_registry_shows_it_and_that_it_has_gone(stack: Stack) -> None:
    (shown,) = (s for s in stack.manage("bus_services", "--json") if s["name"] == SERVICE)
    assert (shown["state"], shown["version"]) == ("UP", "1.2.3")
    assert {"echo", "work"} <= set(shown["handles"])
    assert "topic.*.end" in shown["subscriptions"]
    assert stack.communicator.request(SERVICE, "echo", 1) == 1
    health = stack.communicator.request(SERVICE, "service.health.check")
    assert (health["status"], health["name"]) == ("UP", SERVICE)
    assert health["checks"] == {"warehouse": {"ok": True, "text": ""}}
    assert health["id"] in {instance["id"] for instance in shown["instances"]}
    query = "SELECT last_seen_at FROM gateway_app_serviceinstance WHERE instance_id = ?"
    rows = stack.installation.database()
    before = rows.execute(query, (health["id"],)).fetchall()
    eventually(lambda: rows.execute(query, (health["id"],)).fetchall() != before, 15, "heartbeat")
    # What it handled is on the map.
    samples = "SELECT rows_json FROM gateway_app_flowsample WHERE target = ?"
    asked = '"tester","echo","request","HIGH"'
    eventually(lambda: asked in str(rows.execute(samples, (SERVICE,)).fetchall()), 15, "the flow")
    stack.probe.signal(signal.SIGTERM)
    assert stack.probe.wait() == 0
    left = "SELECT left_at IS NOT NULL FROM gateway_app_serviceinstance WHERE instance_id = ?"
    eventually(lambda: rows.execute(left, (health["id"],)).fetchall() == [(1,)], 15, "farewell")
    stack.probe = stack.start_node()


def test_it_connects_again_and_goes_on(stack: Stack) -> None:
    running = stack.send("slow", {"seconds": 1.0})
    eventually(lambda: stack.node.lines(event="begun", id=running), 15, "it runs")
    log = stack.installation.folder / f"{SERVICE}.log"
    stack.proxy.cut()
    waiting = stack.send("work", {"n": 9})
    eventually(lambda: "no connection to the broker" in log.read_text(), 15, "it tries")
    stack.proxy.mend()
    assert handled(stack.node, waiting)["data"] == {"n": 9}
    sent = stack.ask_node("send", target="user-service", type="work")
    assert handled(stack.python, sent)
    asks = {"target": "user-service", "type": "echo", "data": 1}
    assert stack.ask_node("ask", **asks) == 1  # on a new reply queue
    # The broker has brought again what ran all the time; the second copy found it handled.
    assert handled(stack.node, running)
    assert len(stack.node.lines(event="begun", id=running)) == 1
    # Somebody deletes its queue: it is there again, bound to what it was.
    with Connection(stack.installation.url) as connection:
        connection.channel().queue_delete(f"{stack.installation.namespace}.{SERVICE}")

    def is_back() -> bool:
        try:
            return bool(stack.communicator.request(SERVICE, "echo", 1, timeout=1.0) == 1)
        except ServiceNotFound:
            return False

    eventually(is_back, 15, "its queue")


def test_a_killed_process_loses_nothing(stack: Stack) -> None:
    stack.probe.signal(signal.SIGTERM)
    assert stack.probe.wait() == 0
    hanging = stack.start_node(PROBE_HANGS="1")
    held = stack.send("hang")
    eventually(lambda: stack.node.lines(event="begun", id=held), 15, "it is begun")
    # Its connection breaks, and the broker brings again what it has in hand: that is not done yet.
    stack.proxy.cut()
    stack.proxy.mend()
    assert stack.communicator.request(SERVICE, "echo", 1) == 1
    hanging.kill()
    stack.probe = stack.start_node()
    assert handled(stack.node, held)["id"] == held
    assert len(stack.node.lines(event="begun", id=held)) == 2


def test_what_kills_its_process_is_parked_after_three_deaths(stack: Stack) -> None:
    killer = stack.send("die")
    for _ in range(3):
        assert stack.probe.wait() == -signal.SIGKILL
        stack.probe = stack.start_node(wait=False)
    query = "SELECT reason FROM gateway_app_deadletter WHERE message_id = ?"
    rows = stack.installation.database()
    parked = eventually(lambda: rows.execute(query, (killer,)).fetchall(), 20, "the dead letter")
    assert parked == [("killed_worker",)]
    assert len(stack.node.lines(event="begun", id=killer)) == 3
    assert stack.communicator.request(SERVICE, "echo", 1) == 1


def test_the_example_works_as_it_stands(stack: Stack) -> None:
    example = str(ROOT / "clients/node/example.js")
    stack.installation.start_program("shipping-service", stack.program, example)
    ship = {"userId": 7}
    order = stack.communicator.send_to_service("shipping-service", "parcel.ship", ship)
    sent = eventually(lambda: stack.python.lines(event="handled", type="parcel.shipped"), 20)
    assert sent[0]["data"] == {"userId": 7, "to": None, "order": order}
    price = stack.communicator.request("shipping-service", "parcel.price", {"kilos": 2.5})
    assert price == {"cents": 820}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "redis://127.0.0.1/0"}, "speaks to RabbitMQ alone: expected amqp://…, got redis"),
        ({"concurency": 4}, "concurency: no such option; there are service, url"),
        ({"concurrency": "many"}, "concurrency: expected a number above 0, got many"),
        ({"service": "a.b"}, "service: expected letters, digits, - and _, got a.b"),
        ({"signingKeys": "k:short"}, "signingKeys, key 1: expected id:secret"),
        ({"rabbitmqQueues": "quick"}, "rabbitmqQueues: expected classic or quorum, got quick"),
    ],
)
def test_what_is_set_up_wrong_is_said_in_one_line(options: dict[str, Any], said: str) -> None:
    settings = json.dumps({"service": "s", "url": "amqp://127.0.0.1//", **options})
    code = f"import {{ Bus }} from './bus.js'; new Bus({settings})"
    command = (require_node(), "--input-type=module", "--eval", code)
    done = subprocess.run(
        command, cwd=ROOT / "clients/node", capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"ConfigurationError: {said}" in done.stderr.replace("BROKER_URL: this client ", "")


@pytest.fixture
def signed(tmp_path: Path, migrated_database: Path) -> Iterator[Stack]:
    keys = {
        name: f"{name}-1@{name}:{name[0] * 40}"
        for name in ("api-gateway", "user-service", SERVICE, "tester")
    }
    # On quorum queues, which have other arguments.
    settings = {"signing_keys": ",".join(keys.values()), "rabbitmq_queues": "quorum"}
    stack = Stack(tmp_path, migrated_database, **settings)
    try:
        yield stack
    finally:
        stack.close()


def test_with_keys_both_sides_sign_and_check_also_on_quorum_queues(signed: Stack) -> None:
    data = {"half": 0.5, "one": 1.0, "tiny": 1e-7, "huge": 1e22, "big": 2**63, "ü\uffff𝄞": "ü𝄞"}
    assert signed.communicator.request(SERVICE, "echo", data) == data
    asked = {"target": "user-service", "type": "echo", "data": data}
    assert signed.ask_node("ask", **asked) == data
    sent = signed.ask_node("send", target="user-service", type="work", data=data)
    assert handled(signed.python, sent)["data"] == data
    # Its copies, which Node passes on, still fit. (The journal cannot hold a bigint.)
    failing = signed.send("fail.twice", {**data, "big": 1})
    critical = {"target": SERVICE, "type": "work", "options": {"priority": "CRITICAL"}}
    told = signed.communicator.request("user-service", "send", critical)
    # What nobody vouches for is parked: not signed; altered; said twice.
    key = signed.communicator.bus.keyring
    forged = an_envelope(data={"n": 1})
    altered = codec.encode(forged, None, key).replace('"n":1', '"n":2')
    once = an_envelope(data={"n": 3})
    said = codec.encode(once, None, key)
    publish(signed, codec.encode(forged, None), altered, said)
    handled(signed.node, once.id)
    publish(signed, said)
    rows = signed.installation.database()
    letters = "SELECT error FROM gateway_app_deadletter WHERE reason = 'bad_signature'"
    errors = eventually(
        lambda: found if len(found := rows.execute(letters).fetchall()) == 3 else [], 20
    )
    assert sorted(text[:30] for (text,) in errors) == [
        "BadSignature: it is not signed",
        "BadSignature: the signature do",
        "handled already, and sent agai",
    ]
    assert len(signed.node.lines(event="handled", id=once.id)) == 1
    assert not signed.node.lines(event="handled", id=forged.id)
    assert handled(signed.node, failing)["attempt"] == 3
    state = "SELECT state FROM messaging_outboxmessage WHERE message_id = ?"
    eventually(lambda: rows.execute(state, (told,)).fetchall() == [("handled",)], 20, "receipt")


def an_envelope(**changes: Any) -> Envelope:
    message_id = new_message_id()
    return Envelope(
        id=message_id,
        correlation_id=message_id,
        type="work",
        kind=MessageKind.COMMAND,
        source="tester",
        target=SERVICE,
        priority=MessagePriority.NORMAL,
        created_at=utc_now(),
        **changes,
    )


def publish(stack: Stack, *bodies: str) -> None:
    with Connection(stack.installation.url) as connection:
        for body in bodies:
            connection.Producer().publish(
                body,
                routing_key=f"{stack.installation.namespace}.{SERVICE}",
                headers={"task": codec.TASK_NAME},
                content_type="application/json",
                content_encoding="utf-8",
                retry=True,
            )
