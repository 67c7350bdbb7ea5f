"""Thousands of messages changed at random: each is read, or refused for a reason."""

import pytest

from messaging import codec
from messaging.errors import DecodeError, EncodeError
from messaging.signing import Keyring
from tests.support.mutations import TIMES, mutated
from tests.unit.test_codec import an_envelope

COUNT = 5_000 * TIMES
KEYRING = Keyring.parse(f"k:{'s' * 40}", "api-gateway")


def test_whatever_comes_is_an_envelope_or_refused_with_a_text() -> None:
    body = codec.encode(an_envelope(), None)
    read, refused = 0, []
    for seed in range(COUNT):
        changed = mutated(body, seed)
        try:
            envelope = codec.decode(changed)
        except DecodeError as exc:
            refused.append(str(exc))
        else:
            # What was read can be written, and is read as the same.
            assert codec.decode(codec.encode(envelope, None)) == envelope or envelope != envelope
            read += 1
    assert read > COUNT / 10
    assert len(refused) > COUNT / 10
    assert all(refused)


def test_whatever_is_changed_in_what_was_signed_is_found_out() -> None:
    body = codec.encode(an_envelope(attempt=1), None, KEYRING)
    original = codec.decode(body, KEYRING)
    taken = 0
    for seed in range(COUNT):
        try:
            envelope = codec.decode(mutated(body, seed + COUNT), KEYRING)
        except DecodeError:
            continue
        # The same was said: another order or spelling, or the count of attempts, which is not
        # signed, since the receiver goes on with it.
        assert codec.to_mapping(envelope.next_attempt(1)) == codec.to_mapping(original)
        taken += 1
    assert 0 < taken < COUNT / 5


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e400", '"\\ud800"', '"\\uD800"'])
def test_what_could_not_be_written_again_is_refused(text: str) -> None:
    """It was read, could not be put on record, and came again and again."""
    body = codec.encode(an_envelope(data="here"), None).replace('"here"', text)
    with pytest.raises(DecodeError):
        codec.decode(body)


def test_text_that_is_not_utf_8_is_refused() -> None:
    body = codec.encode(an_envelope(), None)
    for refused in (
        body.encode("utf-16"),
        body.replace("ü", "\ud800").encode(errors="surrogatepass"),
    ):
        with pytest.raises(DecodeError):
            codec.decode(refused)


@pytest.mark.parametrize("depth", [90, 97, 98, 300, 900, 5_000])
def test_what_is_nested_too_deep_is_refused_by_who_sends_and_by_who_receives(depth: int) -> None:
    """At 950 levels it was read, and could not be written again where more was on the stack."""
    flat = codec.encode(an_envelope(data="here"), None)
    body = flat.replace('"here"', "[" * depth + "]" * depth)
    if depth < 98:
        envelope = codec.decode(body)
        assert codec.decode(codec.encode(envelope, None)) == envelope
        return
    with pytest.raises(DecodeError):
        codec.decode(body)
    data: list[object] = []
    for _ in range(depth - 1):
        data = [data]
    with pytest.raises(EncodeError):
        codec.encode(an_envelope(data=data), None)


def test_a_broad_message_is_not_a_deep_one() -> None:
    body = codec.encode(an_envelope(data=[[{"a": []}] for _ in range(5_000)]), None)
    assert len(codec.decode(body).data) == 5_000
