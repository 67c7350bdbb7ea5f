"""What notifications does with the messages it gets.

E-mails have time: they are LOW, so the worker turns to them when nothing else waits. ``durable``
keeps each of them in the database until it is handled, as CRITICAL messages always are.
"""

from typing import Final

from django.core.mail import send_mail as hand_over
from django.utils import timezone

from messaging import Envelope, MessagePriority, RetryPolicy, ServiceCommunicator
from shop.notifications.contracts import (
    MAIL_SEND,
    ORDER_NEWS,
    SERVICE,
    STOCK_LOW,
    MailToSend,
    OrderNews,
    SendMail,
    StockLow,
)
from shop.notifications.models import Mail

communicator = ServiceCommunicator(SERVICE, version="1.0.0")
communicator.sends(MAIL_SEND, MailToSend, to=SERVICE)

#: Of events that are not here nobody is told.
SUBJECTS: Final = {
    "order.placed": "We have your order {order}",
    "order.confirmed": "Your order {order} is paid, the parcel is on its way",
    "order.cancelled": "Your order {order} is cancelled: {reason}",
}
PURCHASING: Final = "purchasing@example.com"
#: A mail server may be away for a night; then somebody looks at the dead letters.
A_NIGHT: Final = RetryPolicy(
    immediate=1, delayed=20, base_seconds=10.0, factor=3.0, cap_seconds=3600.0
)


@communicator.on_message(ORDER_NEWS, schema=OrderNews, atomic=True)
def tell_customer(news: OrderNews, message: Envelope) -> None:
    """Have the customer told what became of the order, once for each event."""
    subject = SUBJECTS.get(message.type)
    if subject is not None:
        _write(news.email, subject.format(order=news.order, reason=news.reason))


@communicator.on_message(STOCK_LOW, schema=StockLow, atomic=True)
def tell_purchasing(event: StockLow) -> None:
    """Have somebody buy more."""
    _write(PURCHASING, f"Only {event.available} of {event.sku} left")


@communicator.on_message(MAIL_SEND, schema=SendMail, retry=A_NIGHT)
def send_mail(wanted: SendMail) -> None:
    """Hand an e-mail to the mail server, and note that.

    Not ``atomic``: a mail server rolls nothing back. Killed between the two lines it hands the
    e-mail over again; never not at all.
    """
    mail = Mail.objects.get(pk=wanted.mail)
    if mail.sent_at is None:
        hand_over(mail.subject, "Thank you for shopping with us.", None, [mail.to])
        Mail.objects.filter(pk=mail.pk).update(sent_at=timezone.now())


def _write(to: str, subject: str) -> None:
    mail = Mail.objects.create(to=to, subject=subject)
    data: MailToSend = {"mail": mail.pk}
    communicator.send_to_service(
        SERVICE, MAIL_SEND, data, priority=MessagePriority.LOW, durable=True
    )
