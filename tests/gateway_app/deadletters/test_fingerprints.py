"""Dead letters of one cause are one group, and of another cause another one."""

import random
import traceback

import pytest

from gateway_app.fingerprints import Group, exception_class, group, innermost_frame
from messaging.clock import SYSTEM_CLOCK
from tests.gateway_app.deadletters.letters import TRACEBACK


def grouped(error: str = "KeyError: 'a'", trace: str = "", **changes: str) -> Group:
    known = {"message_type": "invoice.create", "service": "billing", "reason": "rejected"}
    return group(error=error, traceback=trace, **(known | changes))


def at(file: str = "tax.py", line: int = 88) -> str:
    return TRACEBACK.format(file=file, line=line)


def test_another_line_or_key_or_folder_is_the_same_group() -> None:
    one = grouped("KeyError: 'vat_rate'", at(line=88))
    assert one.fingerprint == grouped("KeyError: 'other'", at(line=91)).fingerprint
    elsewhere = at().replace("/srv/app/", "C:\\app\\").replace("billing/tax", "billing\\tax")
    assert one.fingerprint == grouped("KeyError: 'x'", elsewhere).fingerprint
    assert one.title == "KeyError: 'vat_rate'"
    assert one.frame == "billing/tax.py in apply_vat"
    assert len(one.fingerprint) == 16


@pytest.mark.parametrize(
    "other",
    [
        grouped("ValueError: 'vat_rate'", at()),
        grouped("KeyError: 'a'", at("rates.py")),
        grouped("KeyError: 'a'", at(), message_type="invoice.cancel"),
        grouped("KeyError: 'a'", at(), service="shipping"),
        grouped("KeyError: 'a'", at(), reason="expired"),
    ],
)
def test_another_class_place_type_service_or_reason_is_another_group(other: Group) -> None:
    assert grouped("KeyError: 'a'", at()).fingerprint != other.fingerprint


def test_without_a_traceback_values_in_the_text_do_not_split() -> None:
    one = grouped("no customer 'ada' with order 4711 (01a20d23-7cab-7000-8000-0123456789ab)")
    two = grouped("no customer 'bob' with order 12 (01a20d23-7cab-7000-8000-fedcba987654)")
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != grouped("no such order").fingerprint
    assert one.frame == ""


def test_library_code_is_not_its_own_and_the_last_exception_counts() -> None:
    text = """Traceback (most recent call last):
  File "/srv/billing/first.py", line 1, in first
    x
ValueError

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/messaging/attempts.py", line 1, in run_round
    x
  File "/srv/billing/mail.py", line 1, in send
    x
  File "/srv/messaging/communicator.py", line 1, in send_to_service
    x
  File "/srv/.venv/lib/python3.11/site-packages/smtp/client.py", line 1, in connect
    x
  File "/usr/lib/python3.11/socket.py", line 1, in create
    x
OSError
"""
    assert innermost_frame(text) == "billing/mail.py in send"
    assert innermost_frame(text.replace("/srv/billing/mail", "/usr/lib/python3.11/mail")) == (
        "billing/first.py in first"
    )


def test_a_real_traceback_and_an_exception_group_are_read() -> None:
    def fail() -> None:
        raise ExceptionGroup("both", [KeyError("a"), ValueError("b")])

    try:
        fail()
    except ExceptionGroup as exc:
        text = "".join(traceback.format_exception(exc))
    assert innermost_frame(text) == "deadletters/test_fingerprints.py in fail"


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ("KeyError: 'a'", "KeyError"),
        ("SMTPServerDisconnected: ", "SMTPServerDisconnected"),
        ("a.b.Broken", "a.b.Broken"),
        ("it was broken", ""),
        ("", ""),
        (": x", ""),
    ],
)
def test_the_class_is_what_the_error_begins_with(error: str, name: str) -> None:
    assert exception_class(error) == name


def test_any_text_has_a_group_that_can_be_stored() -> None:
    random.seed(7)
    alphabet = ["\ud800", "\x00", "\n", '  File "', '", line 1, in ', "|", "'", '"', "é", ":", "1"]
    for _ in range(500):
        text = "".join(random.choices(alphabet, k=random.randrange(60)))
        found = grouped(text, text)
        assert f"{found.title}{found.frame}".encode()
        assert "\x00" not in found.title + found.frame
        assert found.title
        assert max(len(found.title), len(found.frame)) <= 200


@pytest.mark.parametrize(
    "piece", ["'", "1", "a" * 30 + " ", '  File "', "\n", '  File "/a/b.py", line 1, in f\n', "f0"]
)
def test_256_kib_take_no_time(piece: str) -> None:
    text = piece * (256 * 1024 // len(piece))
    began = SYSTEM_CLOCK.monotonic()
    grouped(text, text)
    assert SYSTEM_CLOCK.monotonic() - began < 1.0
