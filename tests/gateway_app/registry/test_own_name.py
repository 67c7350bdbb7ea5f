"""A service speaks for itself: what it says of another one is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway_app import handlers
from gateway_app.bus import communicator
from gateway_app.models import DeadLetter, Service
from messaging import Reject, codec
from messaging.deadletter import DeadLetter as Letter
from messaging.deadletter import DeadLetterReason
from tests.unit.test_codec import an_envelope

pytestmark = pytest.mark.django_db

LETTER = Letter(
    message_id="m", service="victim", reason=DeadLetterReason.INVALID, error="x", raw_body=b"x"
)
ABOUT_A_VICTIM: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "registers": (handlers.register, {"name": "victim", "id": "1", "host": "evil.example"}),
    "says that it lives": (handlers.announce, {"name": "victim", "id": "1"}),
    "says goodbye": (handlers.deregister, {"name": "victim", "id": "1"}),
    "gives a message up": (handlers.keep_dead_letter, LETTER.to_json()),
}


@pytest.mark.parametrize("name", ABOUT_A_VICTIM)
def test_what_a_service_says_of_another_is_refused_and_changes_nothing(name: str) -> None:
    handler, data = ABOUT_A_VICTIM[name]
    with pytest.raises(Reject, match="thief may not speak for victim") as caught:
        handler(data, an_envelope(source="thief"))
    assert caught.value.code == "forbidden"
    assert not Service.objects.filter(name="victim").exists()
    assert not DeadLetter.objects.exists()


@pytest.mark.parametrize(
    "message_type",
    ["registry.sweep", "health.round", "flow.sums", "queue.look", "replay.step"],
)
def test_what_beat_says_nobody_else_may_say(message_type: str) -> None:
    handler = communicator.bus.handlers.find(f"bus.{message_type}")
    assert handler is not None
    with pytest.raises(Reject, match="thief may not send"):
        handler.call(an_envelope(source="thief", type=f"bus.{message_type}"))


def test_a_sender_gives_up_its_own_message_for_its_target_and_no_other_one() -> None:
    said = an_envelope(source="sender", target="victim", kind="command", custodian=None)
    letter = Letter(
        message_id=said.id,
        service="victim",
        reason=DeadLetterReason.REJECTED,
        error="QueueFull: 9 messages wait",
        envelope=codec.to_mapping(said),
    )
    with pytest.raises(Reject):
        handlers.keep_dead_letter(letter.to_json(), an_envelope(source="thief"))
    handlers.keep_dead_letter(letter.to_json(), an_envelope(source="sender"))
    assert DeadLetter.objects.get().service == "victim"
