"""What a play reads in the database of its sandbox, beside what the commands tell."""

import sqlite3
from pathlib import Path
from typing import Any


class Looks:
    """Looks into the sandbox's database; every look is a connection of its own."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def epochs(self) -> list[str]:
        """Return the markers that this database has on the broker."""
        return [row[0] for row in self.ask("SELECT epoch FROM messaging_busstate")]

    def ask(self, statement: str, *parameters: Any) -> list[Any]:
        """Run one statement in a transaction of its own; return its rows."""
        connection = sqlite3.connect(self._database, timeout=20)
        try:
            with connection:
                return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()


class Records(Looks):
    """What the tour looks at."""

    def prepare(self) -> None:
        """Make the table of the tour's effects."""
        self.ask("CREATE TABLE tour_effect (message_id TEXT NOT NULL, type TEXT NOT NULL)")

    def effects(self, message_type: str) -> int:
        """Return how many effects messages of a type have left."""
        return int(self.ask("SELECT count(*) FROM tour_effect WHERE type = ?", message_type)[0][0])

    def double_effects(self) -> int:
        """Return how many effects there are beyond one for each message."""
        rows = self.ask("SELECT count(*) - count(DISTINCT message_id) FROM tour_effect")
        return int(rows[0][0])

    def attempts(self, message_id: str) -> int:
        """Return how many attempts at a message are on record."""
        rows = self.ask(
            "SELECT attempts FROM messaging_inboxmessage WHERE message_id = ?", message_id
        )
        return int(rows[0][0]) if rows else 0

    def is_parked(self, message_id: str) -> bool:
        """Return whether the gateway has a dead letter of a message."""
        return bool(
            self.ask("SELECT 1 FROM gateway_app_deadletter WHERE message_id = ?", message_id)
        )

    def missing(self, message_id: str) -> list[str]:
        """Return the services that have not handled their copy of a message."""
        rows = self.ask(
            "SELECT target FROM messaging_outboxmessage"
            " WHERE message_id = ? AND settled_at IS NULL ORDER BY target",
            message_id,
        )
        return [row[0] for row in rows]

    def subscribes(self, service: str, pattern: str) -> bool:
        """Return whether the registry has a subscription."""
        return bool(
            self.ask(
                "SELECT 1 FROM gateway_app_subscription s"
                " JOIN gateway_app_service v ON v.id = s.service_id"
                " WHERE v.name = ? AND s.pattern = ?",
                service,
                pattern,
            )
        )
