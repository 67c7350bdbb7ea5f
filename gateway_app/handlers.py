"""What the gateway does with the messages it gets: registry, dead letters, and beat's commands."""

import logging
import zlib
from datetime import datetime
from typing import Any, Final

from gateway_app import deadletters, pausing, registry, replay_driver, replay_wakeup
from gateway_app.bus import communicator
from gateway_app.flow import queue_hours, queues, samples, summaries
from gateway_app.health import rounds
from gateway_app.recurring import declared, sending
from gateway_app.registry.registrations import (
    Heartbeat,
    InvalidRegistration,
    Registration,
    identify,
)
from gateway_app.registry.snapshot import snapshot
from messaging import Envelope, MessagePriority, Reject, ServiceNotFound
from messaging.database_threads import lone_write, write_transaction
from messaging.deadletter import DeadLetter
from messaging.envelope import is_service_name, utc_now
from messaging.registration import (
    ANNOUNCE,
    DEAD_LETTER,
    DEREGISTER,
    DISCOVER,
    FLOW_SUMS,
    HEALTH_ROUND,
    QUEUE_LOOK,
    RECURRING_DUE,
    REGISTER,
    REGISTERED,
    REGISTRATION_WANTED,
    REGISTRY_SWEEP,
    REPLAY_STEP,
)

logger = logging.getLogger(__name__)

#: What beat says, and nobody else.
ITSELF: Final = (communicator.name,)


@communicator.on_message(REGISTER)
def register(data: Any, message: Envelope) -> None:
    """Put an instance on record and tell its service what became of it."""
    registration = Registration.from_json(data)
    _require_own_name(message, registration.name)
    registered = registry.register(registration, said_at=message.created_at, now=utc_now())
    if registered is None:
        logger.info("%s had deregistered before it could register", registration.instance_id)
        return
    declared.declare(registration, utc_now())
    pausing.registered(communicator, registration.name)
    communicator.send_to_service(
        registration.name,
        REGISTERED,
        {
            "name": registration.name,
            "id": registration.instance_id,
            "state": registered.state.value,
            "refused": [route.to_json() for route in registered.refused],
        },
        priority=MessagePriority.HIGH,
        expires_in=communicator.bus.config.suspect_seconds,
    )


@communicator.on_message(ANNOUNCE)
def announce(data: Any, message: Envelope) -> None:
    """Note a heartbeat, of an instance that nobody knows too, and what it says was handled.

    Asks who has not registered to do so.
    """
    said = Heartbeat.from_json(data)
    _require_own_name(message, said.name)
    now = utc_now()
    sample = samples.sample_of(said.name, data.get("flow"), message.id, now)
    # A worker that handles nothing has nothing to tell: one statement.
    with write_transaction(to_disk=False) if sample else lone_write():
        is_as_before = registry.hear(
            said.instance_id, now, load_json=said.load_json, checks_json=said.checks_json
        )
        samples.keep(sample)
    pausing.heard(communicator, said.name, said.load_json)
    if not is_as_before:
        _hear_news(said, now)


def _hear_news(said: Heartbeat, now: datetime) -> None:
    """Note a heartbeat that changes something; ask who has not registered to do so."""
    heard = registry.announce(
        said.instance_id, now, load_json=said.load_json, checks_json=said.checks_json
    )
    if heard is registry.Heard.UNKNOWN:
        heard = registry.take_in(said, now)
    if heard is registry.Heard.UNREGISTERED:
        communicator.tell(
            said.name,
            REGISTRATION_WANTED,
            {"id": said.instance_id},
            expires_in=communicator.bus.config.heartbeat_seconds,
        )


@communicator.on_message(DEREGISTER)
def deregister(data: Any, message: Envelope) -> None:
    """Note that an instance has ended, and what it had handled at last."""
    name, instance_id = identify(data)
    _require_own_name(message, name)
    now = utc_now()
    registry.deregister(name, instance_id, said_at=message.created_at, now=now)
    sample = samples.sample_of(name, data.get("flow"), message.id, now)
    with write_transaction(to_disk=False):
        samples.keep(sample)


@communicator.on_message(DISCOVER)
def discover(data: Any) -> dict[str, Any]:
    """Answer with what the registry knows about one service."""
    name = data.get("name") if isinstance(data, dict) else None
    if not is_service_name(name):
        raise InvalidRegistration(f"name: expected a service name, got {name!r:.100}")
    found = snapshot(name)
    if not found:
        raise ServiceNotFound(str(name))
    return found[0]


@communicator.on_message(DEAD_LETTER, atomic=True)
def keep_dead_letter(data: Any, message: Envelope) -> None:
    """Store a dead letter of another service."""
    try:
        letter = DeadLetter.from_json(data)
    except (KeyError, TypeError, ValueError, zlib.error) as exc:
        raise Reject(f"no dead letter: {type(exc).__name__}: {exc}") from exc
    said = letter.envelope or {}
    is_unsent = (said.get("source"), said.get("target")) == (message.source, letter.service)
    if not is_unsent:  # else its sender gives it up
        _require_own_name(message, letter.service)
    deadletters.park(letter)


@communicator.on_message(REGISTRY_SWEEP, senders=ITSELF)
def sweep(_data: Any) -> None:
    """Look for instances that fell silent, and for what time has ended. Sent by beat."""
    registry.sweep(utc_now())
    pausing.sweep(communicator)


@communicator.on_message(HEALTH_ROUND, senders=ITSELF)
def check_health(_data: Any) -> None:
    """Ask every service how it is. Sent by beat."""
    rounds.run_round(communicator)


@communicator.on_message(FLOW_SUMS, senders=ITSELF)
def sum_up_flow(_data: Any) -> None:
    """Add up what workers said that they handled, drop what is too old, send what is late.

    Sent by beat.
    """
    now = utc_now()
    # What is too old goes first: nothing that is wrong with what is new may keep it.
    deadletters.sweep(now)
    replay_driver.sweep(now)
    samples.sweep(now)
    summaries.sweep(now)
    summaries.add_up(now)
    sending.mend(now)


@communicator.on_message(QUEUE_LOOK, senders=ITSELF)
def look_at_queues(_data: Any) -> None:
    """Keep what waits for whom, sum up hours that are over, drop what is too old. Sent by beat."""
    now = utc_now()
    queues.look(communicator.bus, now)
    # What is too old goes first: nothing that is wrong with an hour may keep all the others.
    queues.sweep(now)
    queue_hours.sweep(now)
    queue_hours.add_up(now)


@communicator.on_message(RECURRING_DUE, atomic=True, senders=ITSELF)
def send_what_recurs(data: Any) -> None:
    """Send a message that recurs, and plan the next one. Sent by the gateway to itself."""
    sending.send_due(int(data["id"]), datetime.fromisoformat(data["at"]))


@communicator.on_message(REPLAY_STEP, senders=ITSELF)
def go_on_with_replays(_data: Any) -> None:
    """Step the replay runs for a moment, and have that repeated. Sent by beat too."""
    if replay_driver.drive():
        replay_wakeup.wake()


def _require_own_name(message: Envelope, name: str) -> None:
    """Refuse what one service says of another; whether it is that one, signatures tell.

    Raises:
        Reject: its source is another service.
    """
    if message.source != name:
        raise Reject(f"{message.source} may not speak for {name}", code="forbidden")
