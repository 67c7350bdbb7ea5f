"""Sending the receipts that are owed, one message for each custodian and service."""

from collections.abc import Collection

from messaging.custody import schedule
from messaging.custody.link import Link


def tell_custodians(link: Link, services: Collection[str] | None) -> int:
    """Send a batch of receipts that are owed; return how many.

    Args:
        link: to the broker.
        services: whose; None: those of all services that have their rows here.

    Raises:
        BrokerError, PublishUncertain: those that were not sent are owed again.
    """
    owed = schedule.claim_receipts(services)
    batches: dict[tuple[str, str], list[schedule.OwedReceipt]] = {}
    for receipt in owed:
        batches.setdefault((receipt.custodian, receipt.service), []).append(receipt)
    untold = list(batches)
    try:
        while untold:
            custodian, service = untold[-1]
            link.tell(custodian, service, [receipt.entry for receipt in batches[untold[-1]]])
            untold.pop()
    finally:
        if untold:
            schedule.owe_again([receipt for key in untold for receipt in batches[key]])
    return len(owed)
