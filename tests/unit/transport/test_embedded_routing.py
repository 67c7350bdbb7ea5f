"""Which queues a message reaches."""

import itertools
import re
import time

import pytest

from messaging.transport.errors import NoRoute, NotFound
from messaging.transport.routing import TopicTable

MATCHES = [
    ("a", "a", True),
    ("a", "b", False),
    ("a", "a.b", False),
    ("a.b", "a.b", True),
    ("a.b", "a", False),
    ("*", "a", True),
    ("*", "a.b", False),
    ("*", "", True),
    ("a.*", "a", False),
    ("a.*", "a.b", True),
    ("a.*", "a.b.c", False),
    ("*.b", "a.b", True),
    ("*.*", "a.b", True),
    ("#", "", True),
    ("#", "a", True),
    ("#", "a.b.c", True),
    ("document.#", "document", True),
    ("document.#", "document.created", True),
    ("document.#", "document.created.now", True),
    ("document.#", "documents", False),
    ("#.created", "created", True),
    ("#.created", "a.b.created", True),
    ("#.created", "a.created.b", False),
    ("a.#.z", "a.z", True),
    ("a.#.z", "a.b.c.z", True),
    ("a.#.z", "a.b.c", False),
    ("a.#.*", "a", False),
    ("a.#.*", "a.b", True),
    ("#.#", "", True),
    ("*.#.*", "a", False),
    ("*.#.*", "a.b", True),
    ("a.b", "a.*", False),
    ("a+.b", "aa.b", False),
]


@pytest.mark.parametrize(("pattern", "key", "matches"), MATCHES)
def test_topic_patterns_match_as_in_amqp(pattern, key, matches):
    assert TopicTable([(pattern, 1)]).match(key) == ({1} if matches else set())


def _matches_by_definition(pattern: list[str], key: list[str]) -> bool:
    if not pattern:
        return not key
    if pattern[0] == "#":
        return any(_matches_by_definition(pattern[1:], key[n:]) for n in range(len(key) + 1))
    return (
        bool(key) and pattern[0] in ("*", key[0]) and _matches_by_definition(pattern[1:], key[1:])
    )


def test_every_short_pattern_and_key_agree_with_the_definition():
    words = ["a", "b"]
    patterns = [p for n in (1, 2, 3) for p in itertools.product([*words, "*", "#"], repeat=n)]
    keys = [k for n in (1, 2, 3, 4) for k in itertools.product(words, repeat=n)]
    table = TopicTable((".".join(p), i) for i, p in enumerate(patterns))
    for key in keys:
        expected = {
            i for i, p in enumerate(patterns) if _matches_by_definition(list(p), list(key))
        }
        assert table.match(".".join(key)) == expected


def test_five_thousand_patterns_cost_less_than_a_millisecond_and_hashes_do_not_explode():
    table = TopicTable([(f"a.{i}.#.*.x{i}", i) for i in range(5000)] + [("#.#.#.#.#.#.z", -1)])
    key = ".".join("a" * 30)
    began = time.perf_counter()
    for _ in range(20):
        assert table.match(key) == set()
        assert table.match("a.17.b.c.x17") == {17}
    assert time.perf_counter() - began < 0.5


def test_direct_topic_and_fanout_exchanges_reach_their_queues(channel, send, bodies):
    for kind in ("direct", "topic", "fanout"):
        channel.exchange_declare(f"x.{kind}", type=kind)
        channel.queue_declare(f"q.{kind}")
        channel.queue_bind(f"q.{kind}", f"x.{kind}", "key.#" if kind == "topic" else "key")
    for kind in ("direct", "topic", "fanout"):
        send("by key", "key", exchange=f"x.{kind}")
        send("by another", "key.other", exchange=f"x.{kind}")
    assert bodies(channel, "q.direct") == ["by key"]
    assert bodies(channel, "q.topic") == ["by key", "by another"]
    assert bodies(channel, "q.fanout") == ["by key", "by another"]


def test_a_queue_bound_twice_gets_one_copy(channel, send, bodies):
    channel.exchange_declare("x", type="topic")
    channel.queue_declare("work")
    for pattern in ("a.*", "a.#", "*.b"):
        channel.queue_bind("work", "x", pattern)
    send("once", "a.b", exchange="x")
    assert bodies(channel) == ["once"]


def test_an_unbound_queue_gets_nothing_more_in_any_connection(channel, send, bodies):
    channel.exchange_declare("x", type="direct")
    channel.queue_declare("work")
    channel.queue_bind("work", "x", "key")
    send("before", "key", exchange="x")
    channel.queue_unbind("work", "x", "key")
    send("after", "key", exchange="x")
    assert bodies(channel) == ["before"]


def test_a_mandatory_message_to_nowhere_raises_and_others_are_dropped(channel, send, broker):
    channel.exchange_declare("x", type="topic")
    send("nobody listens", "key", exchange="x")
    send("no such queue", "missing")
    for exchange in ("x", ""):
        with pytest.raises(NoRoute) as caught:
            send("mandatory", "key", exchange=exchange, mandatory=True)
        assert caught.value.code == 312
    assert broker.store.read("SELECT count(*) FROM message") == [(0,)]


def test_events_without_listeners_take_no_write_lock(channel, send, broker):
    channel.exchange_declare("celeryev", type="topic")
    send("first", "worker.heartbeat", exchange="celeryev")
    with broker.store.connection() as db:
        before = db.total_changes
        for _ in range(10):
            send("again", "worker.heartbeat", exchange="celeryev")
        assert db.total_changes == before


def test_publishing_to_a_missing_exchange_is_an_error(send):
    with pytest.raises(NotFound, match=re.escape("no exchange 'nowhere'")):
        send("lost?", "key", exchange="nowhere")


def test_a_publisher_sees_a_queue_that_was_deleted_and_declared_again(channel, send, bodies):
    channel.queue_declare("work")
    send("old")
    channel.queue_delete("work")
    send("dropped")
    channel.queue_declare("work")
    send("new")
    assert bodies(channel) == ["new"]
