"""What waits for the commit of a transaction, where the test's own one is never committed."""

from typing import Final

from django.db import connection


class Commits:
    """Runs what production would run at a commit.

    Tests of Django's run in a transaction that is rolled back at their end: ``on_commit`` never
    calls anybody. What code under test opens inside of it and leaves again counts as committed.
    """

    def __init__(self) -> None:
        #: Whether the test itself runs in such a transaction.
        self.is_in_transaction: Final = connection.in_atomic_block
        self._depth = len(connection.savepoint_ids)
        self._known = len(connection.run_on_commit)

    def run(self) -> None:
        """Call what waits for a commit, unless code under test is in a transaction right now."""
        if not self.is_in_transaction or len(connection.savepoint_ids) > self._depth:
            return
        while len(connection.run_on_commit) > self._known:
            _, function, *_ = connection.run_on_commit.pop(self._known)
            function()
