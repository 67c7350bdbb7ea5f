"""Signatures: what is signed, by which key, and what a wrong setting is told."""

import hashlib
import hmac
import json
import uuid
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from messaging import MessagingConfig, codec
from messaging.envelope import MessagePriority, read_only
from messaging.errors import BadSignature, ConfigurationError
from messaging.signing import MESSAGE, Keyring
from tests.unit.test_codec import an_envelope

SECRET = "s" * 40
KEYRING = Keyring.parse(f"k:{SECRET}", "api-gateway")


def test_a_signature_is_what_the_documents_say_it_is() -> None:
    """So that a client in another language can make one."""
    body = codec.encode(an_envelope(data={"b": [1, 2.5, "ü"], "a": None}), None, KEYRING)
    ((mapping,), *_) = json.loads(body)
    key_id, _, digest = mapping.pop("signature").partition(":")
    del mapping["attempt"]
    text = json.dumps(mapping, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    expected = hmac.new(SECRET.encode(), f"message\n{text}".encode(), hashlib.sha256).hexdigest()
    assert (key_id, digest) == ("k", expected)


@pytest.mark.parametrize(
    "data",
    [
        {10: "ten", 9: "nine"},
        {"at": date(2026, 1, 1), "price": Decimal("9.90"), "id": uuid.UUID(int=1)},
        {"kind": MessagePriority.HIGH, "tags": {"b", "a"}},
        {"nested": read_only({"z": 1, "a": (1, 2)})},
        [0.1 + 0.2, 1e-7, 1e21, -0.0, 10**30, "\u2028", "</script>", "\0"],
        None,
        "text",
    ],
)
def test_whatever_can_be_sent_is_still_signed_when_it_arrives(data: Any) -> None:
    body = codec.encode(an_envelope(data=data, custodian=None), None, KEYRING)
    assert codec.decode(body, KEYRING).signature
    # Stored, and sent again by its receiver.
    again = codec.encode(codec.decode(body, KEYRING).next_attempt(7), None)
    assert codec.decode(again, KEYRING).attempt == 7


def test_the_gateway_signs_copies_and_replays_anew_and_nobody_else_can() -> None:
    said = codec.decode(codec.encode(an_envelope(), None, KEYRING), KEYRING)
    copy = said.for_subscriber("c", "api-gateway")
    replay = said.replayed_to("c", "api-gateway")
    for envelope in (copy, replay):
        assert envelope.signature is None
        assert codec.decode(codec.encode(envelope, None, KEYRING), KEYRING).target == "c"
    with pytest.raises(BadSignature, match="'x' may not speak for 'a'"):
        codec.encode(said.for_subscriber("c", "x"), None, KEYRING)


def test_a_key_of_one_service_signs_for_no_other() -> None:
    own = Keyring.parse(f"k@a:{SECRET}", "api-gateway")
    body = codec.encode(an_envelope(), None, own)
    assert codec.decode(body, own)
    with pytest.raises(ConfigurationError, match="none of the keys may speak for 'b'"):
        codec.encode(an_envelope(source="b", custodian=None), None, own)
    others = Keyring.parse(f"k@b:{SECRET}", "api-gateway")
    with pytest.raises(BadSignature, match="key 'k' may not speak for 'a'"):
        codec.decode(body, others)


def test_the_first_key_that_fits_signs_and_all_of_them_check() -> None:
    both = Keyring.parse(f"new:{'n' * 40}, k:{SECRET}")
    assert both.sign(MESSAGE, {}, "a").startswith("new:")
    both.check(MESSAGE, {}, KEYRING.sign(MESSAGE, {}, "a"), "a")
    with pytest.raises(BadSignature):
        KEYRING.check(MESSAGE, {}, both.sign(MESSAGE, {}, "a"), "a")


def test_one_kind_of_text_is_never_taken_for_another() -> None:
    with pytest.raises(BadSignature):
        KEYRING.check("custody", {"a": 1}, KEYRING.sign(MESSAGE, {"a": 1}, "a"), "a")


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("nonsense", "key 1: expected id:secret"),
        (f"k:{SECRET},k:{'t' * 40}", "two keys are named 'k'"),
        ("k:short", "a secret of 32 characters at least"),
        (f"k@not a service:{SECRET}", "expected id:secret"),
        (f"k@.:{SECRET}", "a service name after @"),
    ],
)
def test_a_wrong_key_is_named_and_its_secret_is_not(keys: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MessagingConfig(broker_url="sqlite:////x", signing_keys=keys)
    assert text in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "short" not in str(caught.value)


def test_an_instant_without_offset_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unsigned_until"):
        MessagingConfig(broker_url="sqlite:////x", unsigned_until="2026-12-01")


def test_settings_that_are_printed_show_no_secret() -> None:
    config = MessagingConfig(broker_url="amqp://me:hush@host", signing_keys=f"k:{SECRET}")
    assert SECRET not in repr(config)
    assert "hush" not in repr(config)
    assert SECRET not in repr(Keyring.parse(f"k:{SECRET}").key_of("a"))
