"""The payment provider: in life another company, here a stand-in that keeps books of its own.

Its books are a file apart from the shop's database: no rollback of the shop takes anything out of
them. As with real ones, what is asked again under the same key is done once, and some cards are
there to try out what goes wrong.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.conf import settings

CARD_GOOD: Final = "card-good"
#: Is always refused.
CARD_REFUSED: Final = "card-refused"
#: The provider does not answer the first three times.
CARD_UNLUCKY: Final = "card-unlucky"
FAILURES: Final = 3

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS charge"
    " (key TEXT PRIMARY KEY, cents INTEGER NOT NULL, refunded INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE IF NOT EXISTS failure (key TEXT NOT NULL)",
)


class CardRefused(Exception):
    """The bank says no, and will say no again."""


class ProviderUnreachable(Exception):
    """No answer; asking again may help."""


def charge(key: str, card: str, cents: int) -> None:
    """Take money from a card: once under one key, however often it is asked for.

    Raises:
        CardRefused: it was not taken, and never will be.
        ProviderUnreachable: nobody knows; safe to ask again under the same key.
    """
    if card == CARD_REFUSED:
        raise CardRefused(card)
    with _books() as books:
        failed = books.execute("SELECT count(*) FROM failure WHERE key = ?", [key]).fetchone()[0]
        is_down = card == CARD_UNLUCKY and failed < FAILURES
        if is_down:
            books.execute("INSERT INTO failure VALUES (?)", [key])
        else:
            books.execute("INSERT OR IGNORE INTO charge (key, cents) VALUES (?, ?)", [key, cents])
    if is_down:
        raise ProviderUnreachable("no answer within 5 s")


def refund(key: str) -> None:
    """Give the money back that was taken under a key. Idempotent."""
    with _books() as books:
        books.execute("UPDATE charge SET refunded = 1 WHERE key = ?", [key])


def charged() -> dict[str, int]:
    """Return the cents that are taken and not given back, by key: the provider's statement."""
    with _books() as books:
        return dict(books.execute("SELECT key, cents FROM charge WHERE NOT refunded"))


@contextmanager
def _books() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(settings.VAR_DIR / "provider.sqlite3", timeout=20)
    try:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for table in _TABLES:
                connection.execute(table)
            yield connection
    finally:
        connection.close()
