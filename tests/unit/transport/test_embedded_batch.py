"""Many messages in one transaction, and how safely they are stored."""

import pytest

from messaging.transport.errors import NoRoute


@pytest.fixture(autouse=True)
def _queue(channel):
    channel.queue_declare("work")


@pytest.fixture
def commits(broker, monkeypatch):
    """The commits made since the start of the test, as whether each was FULL."""
    made = []
    original = broker.store.transaction

    def transaction(*, busy_seconds, full=False):
        made.append(full)
        return original(busy_seconds=busy_seconds, full=full)

    monkeypatch.setattr(broker.store, "transaction", transaction)
    return made


def waiting(channel):
    return channel.queue_declare("work", passive=True).message_count


def test_a_batch_is_one_transaction_for_every_500_messages_and_one_at_its_end(channel, commits):
    producer = channel.Producer()
    with channel.batch():
        for number in range(499):
            producer.publish(number, routing_key="work")
        assert waiting(channel) == 0
        for number in range(2):
            producer.publish(number, routing_key="work")
        assert waiting(channel) == 500
    assert waiting(channel) == 501
    assert len(commits) == 2


def test_what_was_not_written_is_dropped_when_the_block_raises(channel):
    producer = channel.Producer()

    def fail() -> None:
        with channel.batch():
            producer.publish("dropped", routing_key="work")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    producer.publish("kept", routing_key="work")
    assert waiting(channel) == 1


def test_a_batch_is_written_as_a_whole_or_not_at_all(channel):
    producer = channel.Producer()

    def publish_both() -> None:
        with channel.batch():
            producer.publish("good", routing_key="work")
            producer.publish("nowhere", routing_key="missing", mandatory=True)

    with pytest.raises(NoRoute):
        publish_both()
    assert waiting(channel) == 0


def test_the_batches_of_kombus_producer_are_transactions_as_well(channel, commits):
    producer = channel.Producer()
    assert producer.supports_batch_publish
    with producer.batch(max_size=10):
        for number in range(25):
            producer.publish(number, routing_key="work")
    assert waiting(channel) == 25
    assert len(commits) == 3


def test_durability_is_chosen_by_message_or_by_connection(channel, connect, commits):
    channel.Producer().publish("normal", routing_key="work")
    channel.Producer().publish("full", routing_key="work", durability="full")
    connect(durability="full").Producer().publish("full", routing_key="work")
    connect(durability="full").Producer().publish(
        "normal", routing_key="work", durability="normal"
    )
    with channel.batch():
        channel.Producer().publish("one of them is full", routing_key="work")
        channel.Producer().publish("full", routing_key="work", durability="full")
    assert commits == [False, True, True, False, True]


def test_synchronous_follows_the_durability_asked_for(channel, broker):
    def synchronous():
        with broker.store.connection() as db:
            return db.execute("PRAGMA synchronous").fetchone()[0]

    channel.Producer().publish("full", routing_key="work", durability="full")
    assert synchronous() == 2
    channel.Producer().publish("normal", routing_key="work")
    assert synchronous() == 1
