"""What the story looks at beside what it asks over HTTP."""

from pathlib import Path

from gateway_app.tour.records import Looks


class ShopLooks(Looks):
    """Looks into the tables of the services, the provider's books and the e-mails."""

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._folder = database.parent

    def confirmed_orders(self) -> int:
        """Return how many orders are confirmed."""
        rows = self.ask("SELECT count(*) FROM orders_order WHERE state = 'confirmed'")
        return int(rows[0][0])

    def reservations(self, order: str) -> list[str]:
        """Return the states of all reservations of an order."""
        rows = self.ask('SELECT state FROM warehouse_reservation WHERE "order" = ?', order)
        return [row[0] for row in rows]

    def unsent_mails(self) -> int:
        """Return how many e-mails are written and not sent."""
        return int(self.ask("SELECT count(*) FROM notifications_mail WHERE sent_at IS NULL")[0][0])

    def mails(self, text: str) -> list[str]:
        """Return the e-mails that were sent, as they are on disk, with a text in them."""
        files = sorted((self._folder / "mail").glob("*.log"))
        # The file backend ends each of them with a line of dashes.
        mails = "".join(file.read_text() for file in files).split("-" * 79)
        return [mail for mail in mails if text in " ".join(mail.split())]

    def charges(self, order: str) -> list[int]:
        """Return the cents of all charges that the provider has made for an order."""
        rows = self._provider.ask("SELECT cents FROM charge WHERE key = ? AND NOT refunded", order)
        return [row[0] for row in rows]

    def failures(self, order: str) -> int:
        """Return how often the provider did not answer about an order."""
        return int(self._provider.ask("SELECT count(*) FROM failure WHERE key = ?", order)[0][0])

    @property
    def _provider(self) -> Looks:
        return Looks(self._folder / "provider.sqlite3")
