"""The log is carried over by the keeper, long before a commit would have to do it."""

from pathlib import Path

from kombu import Connection

from messaging.transport.checkpoint import EVERY_COMMITS
from tests.support.waiting import eventually

PAGE = 4096


def test_messages_reach_the_database_file_while_the_log_is_short(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite3"
    with Connection(f"sqlite:///{path}") as connection:
        channel = connection.channel()
        channel.queue_declare("work")
        channel._consumption.session  # noqa: B018 # it brings the keeper
        before = path.stat().st_size
        producer = connection.Producer(channel)
        for _ in range(EVERY_COMMITS):
            producer.publish("x" * PAGE, routing_key="work")
        # Nobody else does it so early: SQLite's own turn comes after 4000 pages.
        assert Path(f"{path}-wal").stat().st_size < 4000 * PAGE
        eventually(lambda: path.stat().st_size > before + EVERY_COMMITS * PAGE / 2, 5)
