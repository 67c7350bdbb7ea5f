"""What several pages show of the present, read once for all who look."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db.models import Count, Max, Min

from gateway_app import ledger
from gateway_app.bus import communicator
from gateway_app.flow import present, queues
from gateway_app.flow.present import Present
from gateway_app.ledger import Account
from gateway_app.models import DeadLetter, DeadLetterState, HealthRecord, Service, State
from gateway_app.ops.paced import Paced, Reading
from gateway_app.ops.question import Question
from gateway_app.registry.snapshot import View, view
from messaging import MessagePriority, MessagingError
from messaging.custody.outbox import URGENCY
from messaging.depths import Depth, depths
from messaging.envelope import utc_now
from messaging.models import InboxMessage, InboxState, OutboxMessage

#: Rates are those of so many seconds.
RATE_SECONDS: Final = 30.0
#: The balance goes so far back.
LEDGER_RANGE: Final = timedelta(hours=24)
#: Since when a service is in trouble is looked for so far back.
TROUBLE_RANGE: Final = timedelta(hours=24)


class Waiting(NamedTuple):
    """What waits for services now; why it is not known, where the broker does not answer."""

    depths: Mapping[str, Depth]
    trouble: str


@dataclass(frozen=True, slots=True)
class Parked:
    """Dead letters of one service that nobody has seen to."""

    count: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Critical:
    """CRITICAL messages that are not at their end; retries apart."""

    count: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Retrying:
    """Messages that failed and are tried again."""

    count: int
    next_at: datetime | None


def _read_depths() -> Waiting:
    names = list(Service.objects.values_list("name", flat=True))
    try:
        return Waiting(depths(communicator.bus, names), "")
    except MessagingError as exc:
        return Waiting({}, str(exc))


def _read_parked() -> dict[str, Parked]:
    rows = (
        DeadLetter.objects.filter(state=DeadLetterState.PARKED)
        .order_by()
        .values_list("service")
        .annotate(Count("pk"), Min("parked_at"))
    )
    return {service: Parked(count, since) for service, count, since in rows}


def _read_account() -> Account:
    return ledger.account(utc_now() - LEDGER_RANGE)


def _read_critical() -> Critical:
    found = OutboxMessage.objects.filter(
        due_at__isnull=False, urgency=URGENCY[MessagePriority.CRITICAL]
    ).aggregate(count=Count("pk"), oldest=Min("created_at"))
    return Critical(found["count"], found["oldest"])


def _read_retrying() -> Retrying:
    # The custodian's ledger counts them as in flight; without one they are in no ledger.
    found = InboxMessage.objects.filter(
        due_at__isnull=False, state=InboxState.WAITING, custodian__gt=""
    ).aggregate(count=Count("pk"), next=Min("due_at"))
    return Retrying(found["count"], found["next"])


def _read_troubles() -> dict[int, datetime]:
    recent = HealthRecord.objects.filter(at__gte=utc_now() - TROUBLE_RANGE)
    return dict(
        recent.exclude(state=State.UP).order_by().values_list("service").annotate(Max("at"))
    )


_depths: Final = Paced(_read_depths, 1.0)
_parked: Final = Paced(_read_parked, 1.0)
_troubles: Final = Paced(_read_troubles, 1.0)
_growing: Final = Paced(lambda: queues.growing(utc_now()), 5.0)
_account: Final = Paced(_read_account, 2.0)
_critical: Final = Paced(_read_critical, 1.0)
_retrying: Final = Paced(_read_retrying, 1.0)


def registry(_asked: Question) -> View:
    """Return the registry as it is, also where the page is about an earlier instant."""
    return view(with_offers=False)


def flowing(asked: Question) -> Present:
    """Return what was handled in the last `RATE_SECONDS`."""
    return present.look(asked.now, RATE_SECONDS)


def waiting(_asked: Question) -> Reading[Waiting] | None:
    """Return what waits on the broker; None: it is being asked."""
    return _depths.get()


def parked(_asked: Question) -> dict[str, Parked]:
    """Return what is parked, by service."""
    known = _parked.get()
    return known.value if known else {}


def account(_asked: Question) -> Reading[Account] | None:
    """Return the balance of the last day; None: it is being made."""
    return _account.get()


def troubled_since(_asked: Question) -> dict[int, datetime]:
    """Return when an instance last ceased to be UP, by key of its service, within a day."""
    known = _troubles.get()
    return known.value if known else {}


def growing(_asked: Question) -> dict[str, float]:
    """Return by how many messages a minute queues grow, of those that do."""
    known = _growing.get()
    return known.value if known else {}


def critical(_asked: Question) -> Critical:
    """Return how many CRITICAL messages are not at their end."""
    known = _critical.get()
    return known.value if known else Critical(0, None)


def retrying(_asked: Question) -> Retrying:
    """Return how many messages are tried again."""
    known = _retrying.get()
    return known.value if known else Retrying(0, None)
