"""Sending the receipts that are owed, one message for each custodian and service."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from messaging.clock import BUS_CLOCK
from messaging.custody import schedule
from messaging.custody.link import Link
from messaging.custody.schedule import OwedReceipt
from messaging.custody.sending import refused_pause_seconds
from messaging.errors import PublishError, PublishUncertain

logger = logging.getLogger(__name__)


class _Address(NamedTuple):
    custodian: str
    service: str


@dataclass(slots=True)
class _Refusal:
    """What a custodian's queue does not take, until it is tried again."""

    failures: int = 0
    again_at: float = 0.0
    #: As they were claimed. Not owed meanwhile: they would be claimed before those of others.
    held: list[list[OwedReceipt]] = field(default_factory=list)


class Telling:
    """Tells custodians what became of their messages, for one relay. Not thread-safe.

    Receipts that a custodian's queue refuses wait here, and are tried less and less often. Those
    that end with their process are told when they are asked for, or published again.

    Args:
        link: to the broker.
        services: in whose name; None: of all services that have their rows here.
    """

    def __init__(self, link: Link, services: Collection[str] | None) -> None:
        self._link: Final = link
        self._services: Final = services
        self._refused: dict[_Address, _Refusal] = {}

    def tell(self) -> int:
        """Send a batch of receipts that are owed; return how many.

        Raises:
            BrokerError, PublishUncertain: those that were not sent are owed again.
        """
        now = BUS_CLOCK.monotonic()
        for refusal in self._refused.values():
            if refusal.again_at <= now:
                _owe(refusal)
        owed = schedule.claim_receipts(self._services)
        batches: dict[_Address, list[OwedReceipt]] = {}
        for receipt in owed:
            address = _Address(receipt.custodian, receipt.service)
            batches.setdefault(address, []).append(receipt)
        untold = list(batches)
        try:
            while untold:
                self._tell(untold[-1], batches[untold[-1]])
                untold.pop()
        finally:
            if untold:
                schedule.owe_again([receipt for key in untold for receipt in batches[key]])
        return len(owed)

    def stop(self) -> None:
        """Owe again what waits here."""
        for refusal in self._refused.values():
            _owe(refusal)

    def _tell(self, address: _Address, receipts: list[OwedReceipt]) -> None:
        refusal = self._refused.get(address)
        if refusal is not None and BUS_CLOCK.monotonic() < refusal.again_at:
            refusal.held.append(receipts)
            return
        try:
            self._link.tell(*address, [receipt.entry for receipt in receipts])
        except PublishUncertain:
            raise
        except PublishError as exc:
            refusal = self._refused.setdefault(address, _Refusal())
            pause = refused_pause_seconds(refusal.failures)
            to = address.custodian
            logger.warning("receipts for %s were refused, again in %g s: %s", to, pause, exc)
            refusal.failures += 1
            refusal.again_at = BUS_CLOCK.monotonic() + pause
            refusal.held.append(receipts)
        else:
            if refusal is not None and not refusal.held:
                del self._refused[address]


def _owe(refusal: _Refusal) -> None:
    while refusal.held:
        schedule.owe_again(refusal.held[-1])
        refusal.held.pop()
