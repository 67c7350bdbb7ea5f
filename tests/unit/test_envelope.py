import os
import pickle
from dataclasses import FrozenInstanceError
from datetime import timedelta

import pytest

from messaging.envelope import (
    NO_HEADERS,
    is_message_type,
    is_service_name,
    new_message_id,
)
from tests.unit.test_codec import NOW, an_envelope


def test_an_envelope_cannot_be_changed() -> None:
    envelope = an_envelope()
    with pytest.raises(FrozenInstanceError):
        envelope.id = "other"  # that is the point
    with pytest.raises(TypeError):
        envelope.headers["tenant"] = "other"  # type: ignore[index] # that is the point


def test_an_envelope_travels_to_another_process() -> None:
    for envelope in (an_envelope(), an_envelope(headers=NO_HEADERS)):
        assert pickle.loads(pickle.dumps(envelope)) == envelope


def test_it_expires_after_its_instant_and_never_without_one() -> None:
    envelope = an_envelope(expires_at=NOW)
    assert not envelope.is_expired(NOW)
    assert envelope.is_expired(NOW + timedelta(microseconds=1))
    assert not an_envelope(expires_at=None).is_expired(NOW + timedelta(days=9999))


def test_ids_are_unique_and_ordered_by_time() -> None:
    ids = [new_message_id() for _ in range(5000)]
    assert len(set(ids)) == 5000
    assert sorted(ids, key=lambda i: i[:13]) == ids
    assert {i[14] for i in ids} == {"7"}


def test_a_forked_child_does_not_repeat_its_parents_ids() -> None:
    new_message_id()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, ",".join(new_message_id() for _ in range(50)).encode())
        os._exit(0)
    mine = {new_message_id()[15:] for _ in range(50)}
    os.waitpid(child, 0)
    theirs = {i[15:] for i in os.read(reader, 65_536).decode().split(",")}
    os.close(reader)
    os.close(writer)
    assert len(theirs) == 50
    assert not mine & theirs


@pytest.mark.parametrize("text", ["a", "get.user.details", "A-b_c.9"])
def test_message_types(text: str) -> None:
    assert is_message_type(text)


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a b", "a.*", "a/b", "ä", "x" * 201, 7, None]
)
def test_no_message_types(text: object) -> None:
    assert not is_message_type(text)


@pytest.mark.parametrize("text", ["", "-a", "a.b", "a/b", "a b", "x" * 101, "../a", None])
def test_no_service_names(text: object) -> None:
    assert not is_service_name(text)
