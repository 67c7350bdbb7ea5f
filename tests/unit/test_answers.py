import os

import pytest

from messaging import codec
from messaging.answers import AnsweredRequests, error_from, error_reply_to, reply_to
from messaging.errors import AlreadySettled, InvalidData, NoHandler, Reject, RemoteError
from tests.unit.test_codec import an_envelope


def test_a_reply_continues_the_conversation() -> None:
    request = an_envelope()
    reply = reply_to(request, "b", {"x": 1})
    assert (reply.source, reply.target) == ("b", "a")
    assert (reply.correlation_id, reply.causation_id) == ("c", request.id)
    assert error_from(reply) is None


def test_an_error_crosses_as_text_and_is_never_rebuilt() -> None:
    error = error_from(error_reply_to(an_envelope(), "b", KeyError("x")))
    assert type(error) is RemoteError
    assert (error.type, error.message, error.retryable) == ("KeyError", "'x'", False)
    passed_on = error_from(
        error_reply_to(an_envelope(), "b", RemoteError("T", "m", retryable=True))
    )
    assert passed_on is not None
    assert (passed_on.type, passed_on.message, passed_on.retryable) == ("T", "m", True)


class Missing(Reject):
    code = "not_found"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Reject("no"), "rejected"),
        (Reject("no", code="conflict"), "conflict"),
        (Missing("no"), "not_found"),
        (Missing("no", code="forbidden"), "forbidden"),
        (InvalidData("no"), "invalid"),
        (NoHandler("no"), "no_handler"),
        (SystemExit(3), ""),
        # Of another question: an order whose user is missing is not missing itself.
        (RemoteError("Missing", "no", code="not_found"), ""),
    ],
)
def test_a_refusal_crosses_with_its_code(error: BaseException, code: str) -> None:
    crossed = error_from(error_reply_to(an_envelope(), "b", error))
    assert crossed is not None
    assert crossed.code == code


def test_there_are_no_other_codes() -> None:
    with pytest.raises(ValueError, match=r"expected a code out of .*, got 'gone'"):
        Reject("no", code="gone")


def test_a_request_is_answered_once_unless_sending_failed() -> None:
    answered = AnsweredRequests()
    with pytest.raises(OSError, match="broken"), answered.answering("1"):
        raise OSError("broken")
    assert "1" not in answered
    with answered.answering("1"):
        pass
    with pytest.raises(AlreadySettled), answered.answering("1"):
        pass


def test_only_so_many_are_remembered() -> None:
    answered = AnsweredRequests()
    for number in range(10_001):
        with answered.answering(str(number)):
            pass
    assert "0" not in answered
    assert "10000" in answered


def test_an_error_may_say_what_no_message_can_hold() -> None:
    reply = error_reply_to(an_envelope(), "b", ValueError(os.fsdecode(b"caf\xe9") + "\x00"))
    error = error_from(codec.decode(codec.encode(reply, None)))
    assert error is not None
    assert error.message == "caf\\udce9\\x00"
