"""The heartbeats of many instances, from one process.

    python tests/bench/peers/heart.py BROKER_URL NAMESPACE INSTANCES ROUNDS INTERVAL

Ten instances of each service, s0-0 to s0-9 of s0 and so on. Each says ROUNDS times that
it lives, and what it handled since: evenly over INTERVAL seconds, or as fast as they are taken
where that is 0. Prints how many were sent, and in how many seconds.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import django

django.setup()

from messaging import MessageBus, MessagePriority, MessagingConfig  # noqa: E402
from messaging.batches import Copy  # noqa: E402
from messaging.clock import SYSTEM_CLOCK  # noqa: E402
from messaging.envelope import (  # noqa: E402
    NO_HEADERS,
    Envelope,
    MessageKind,
    new_message_id,
    utc_now,
)
from messaging.registration import ANNOUNCE  # noqa: E402

_INSTANCES_OF_SERVICE: Final = 10
#: Published together: senders would be thousands of processes, and are not what is measured.
_BATCH: Final = 50
_LASTS_SECONDS: Final = 600.0


def beat(bus: MessageBus, number: int) -> Copy:
    """Return the heartbeat of an instance that handles messages of one kind."""
    service = f"s{number // _INSTANCES_OF_SERVICE}"
    now = utc_now()
    message_id = new_message_id()
    envelope = Envelope(
        id=message_id,
        type=ANNOUNCE,
        kind=MessageKind.COMMAND,
        source=service,
        target=bus.config.gateway_name,
        priority=MessagePriority.HIGH,
        data={
            "name": service,
            "id": f"{service}-{number % _INSTANCES_OF_SERVICE}",
            "version": "1",
            "host": "10.0.0.1",
            "port": None,
            "healthEndpoint": "",
            "status": "UP",
            "uptime_seconds": 60.0,
            "load": {"consumed": 100, "busy": 1, "capacity": 4, "oldest_seconds": 0.1},
            "checks": {},
            "flow": [_flow(int(now.timestamp()) - 1)],
        },
        created_at=now,
        expires_at=now + timedelta(seconds=_LASTS_SECONDS),
        correlation_id=message_id,
        headers=NO_HEADERS,
    )
    return Copy(envelope, bus.encode(envelope), None, 0)


def _flow(second: int) -> dict[str, Any]:
    return {
        "at": second,
        "source": "shop",
        "type": "order.paid",
        "kind": "event",
        "priority": "NORMAL",
        "count": 5,
        "waiting": [(3, 5)],
        "handling": [(4, 5)],
        "total": [(5, 5)],
    }


def main() -> None:
    """Send them."""
    url, namespace, instances, rounds, interval = sys.argv[1:]
    bus = MessageBus(MessagingConfig(broker_url=url, namespace=namespace))
    every, sent, began = float(interval), 0, SYSTEM_CLOCK.monotonic()
    for turn in range(int(rounds)):
        for start in range(0, int(instances), _BATCH):
            numbers = range(start, min(start + _BATCH, int(instances)))
            due_at = began + every * (turn + start / int(instances))
            SYSTEM_CLOCK.sleep(max(0.0, due_at - SYSTEM_CLOCK.monotonic()))
            errors = bus.publish_all([beat(bus, number) for number in numbers])
            if any(errors):
                raise SystemExit(f"not sent: {next(filter(None, errors))}")
            sent += len(numbers)
    print(sent, SYSTEM_CLOCK.monotonic() - began, flush=True)


if __name__ == "__main__":
    main()
