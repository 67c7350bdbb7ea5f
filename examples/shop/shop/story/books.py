"""The books of all services side by side: what must be the same when no order is open any more."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet, Sum

from shop.notifications.handlers import PURCHASING
from shop.notifications.models import Mail
from shop.orders.models import Order
from shop.payments import provider
from shop.payments.models import Payment
from shop.warehouse.models import Reservation, Stock


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Sums over everything; only the story and the tests look into the tables of all."""

    orders: int
    #: Neither confirmed nor cancelled.
    open_orders: int
    #: Of confirmed orders: what they cost, what payments has noted, what the provider has taken.
    confirmed_cents: int
    captured_cents: int
    charged_cents: int
    #: Of confirmed orders; of parcels.
    confirmed_pieces: int
    sent_pieces: int
    #: Came in and are neither on the shelf nor sent.
    missing_pieces: int
    #: One for each order, and one for each that has ended; those to customers that were sent.
    mails_due: int
    mails_sent: int

    def differences(self) -> Sequence[str]:
        """Return what does not fit, for people; nothing while all is well."""
        compared = (
            ("open orders", self.open_orders, 0),
            ("cents captured and confirmed", self.captured_cents, self.confirmed_cents),
            ("cents charged and confirmed", self.charged_cents, self.confirmed_cents),
            ("pieces sent and confirmed", self.sent_pieces, self.confirmed_pieces),
            ("pieces missing", self.missing_pieces, 0),
            ("mails sent and due", self.mails_sent, self.mails_due),
        )
        return [f"{what}: {one} and {other}" for what, one, other in compared if one != other]


def read_books() -> Books:
    """Return the books as they are now."""
    orders = Order.objects.all()
    confirmed = orders.filter(state=Order.State.CONFIRMED)
    ended = orders.filter(state__in=(Order.State.CONFIRMED, Order.State.CANCELLED))
    sent = Reservation.objects.filter(state=Reservation.State.SENT)
    stock = Stock.objects.all()
    return Books(
        orders=orders.count(),
        open_orders=orders.count() - ended.count(),
        confirmed_cents=_sum(confirmed, "cents"),
        captured_cents=_sum(Payment.objects.filter(state=Payment.State.CAPTURED), "cents"),
        charged_cents=sum(provider.charged().values()),
        confirmed_pieces=_sum(confirmed, "quantity"),
        sent_pieces=_sum(sent, "quantity"),
        missing_pieces=(
            _sum(stock, "received") - _sum(stock, "available") - _sum(sent, "quantity")
        ),
        mails_due=orders.count() + ended.count(),
        mails_sent=Mail.objects.exclude(to=PURCHASING).exclude(sent_at=None).count(),
    )


def _sum(rows: "QuerySet[Any]", field: str) -> int:
    return int(rows.aggregate(total=Sum(field))["total"] or 0)
