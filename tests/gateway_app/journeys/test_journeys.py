"""What is on record of one message, put together."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from gateway_app import story
from gateway_app.journeys import causes, journey, waterfall
from gateway_app.redaction import HIDDEN, MOST_SHOWN, redacted, text_of
from messaging import codec
from messaging.custody import failed_rounds, outbox
from messaging.envelope import Envelope, MessageKind, MessagePriority, new_message_id, utc_now
from messaging.models import FailedRound, InboxMessage, OutboxMessage

pytestmark = pytest.mark.django_db


def said(message_id: str, source: str, target: str, cause: str | None = None) -> Envelope:
    envelope = Envelope(
        id=message_id,
        type=f"{target}.work",
        kind=MessageKind.COMMAND,
        source=source,
        target=target,
        priority=MessagePriority.CRITICAL,
        data={"number": 1},
        created_at=utc_now(),
        correlation_id="c",
        causation_id=cause,
    )
    outbox.store(envelope, delay_seconds=0, error="", under_custody=True)
    return envelope


def handled(begun_at: datetime, *, attempts: int, generation: int = 0) -> None:
    InboxMessage.objects.create(
        message_id="a",
        service="billing",
        generation=generation,
        source="shop",
        type="x",
        priority="CRITICAL",
        created_at=begun_at,
        state="handled",
        attempts=attempts,
        begun_at=begun_at,
        finished_at=begun_at + timedelta(seconds=2),
        owner="host:pid:[1]/boot/42/7",
    )


def test_nothing_is_told_of_what_is_not_on_record() -> None:
    assert journey("nobody") is None


def test_the_tree_goes_from_the_first_message_on_record_to_the_last() -> None:
    said("a", "shop", "billing", cause="gone")
    said("b", "billing", "mail", cause="a")
    said("c", "billing", "stock", cause="a")
    said("d", "mail", "log", cause="b")
    for message_id in "abcd":
        tree = causes.tree(message_id)
        (root,) = tree.roots
        assert (root.message_id, tree.not_kept) == ("a", "gone")
        assert [child.message_id for child in root.children] == ["b", "c"]
        assert [child.message_id for child in root.children[0].children] == ["d"]


def test_messages_that_name_each_other_as_cause_do_not_go_round_for_ever() -> None:
    said("a", "shop", "billing", cause="b")
    said("b", "billing", "shop", cause="a")
    tree = causes.tree("a")
    assert len(tree.roots) == 1


def test_a_tree_without_end_is_cut() -> None:
    said("root", "shop", "billing")
    for number in range(causes.MOST + 20):
        said(f"m{number}", "billing", "mail", cause="root")
    tree = causes.tree("root")
    assert tree.is_cut
    assert len(tree.roots[0].children) == causes.MOST - 1


def test_a_child_is_below_the_copy_whose_handling_sent_it() -> None:
    envelope = said("a", "shop", "billing")
    outbox.store(envelope, to="stock", delay_seconds=0, error="", under_custody=True)
    said("b", "stock", "mail", cause="a")
    billing, stock = causes.tree("b").roots
    assert billing.children == []
    assert [child.message_id for child in stock.children] == ["b"]


def test_attempts_are_those_on_record_the_one_that_worked_last() -> None:
    envelope = said("a", "shop", "billing")
    error = KeyError("vat_rate")
    for attempts, tries in ((0, 3), (3, 1)):
        failed_rounds.note(
            envelope,
            "billing",
            attempts=attempts,
            tries=tries,
            seconds=0.02,
            error=error,
            version="2.3.1",
        )
    now = utc_now() + timedelta(seconds=1)
    handled(now, attempts=4)
    found = journey("a")
    assert found is not None
    assert [attempt.numbers for attempt in found.attempts] == ["1 to 3", "4", "5"]
    assert [bool(attempt.error) for attempt in found.attempts] == [True, True, False]
    assert found.attempts[0].error == "KeyError: 'vat_rate'"
    assert found.attempts[2].where == "host 42"
    lanes = [(each.lane, each.outcome) for each in waterfall.stretches(found, now)]
    assert ("Handler", "failed") in lanes
    assert ("Retry wait", "waiting") in lanes
    assert lanes[-1] == ("Handler", "handled")


def test_attempts_say_their_round_their_limit_and_what_died() -> None:
    now = utc_now()
    for second, (generation, died, most) in enumerate(((0, "", 5), (0, "run", 3), (1, "", 4))):
        FailedRound.objects.create(
            message_id="a",
            service="billing",
            generation=generation,
            first=1,
            last=1,
            most=most,
            died_run=died,
            ended_at=now + timedelta(seconds=second),
            owner="host:pid:[1]/boot/42/7",
            version="2.3.1",
            error="its process died" if died else "KeyError: 1",
        )
    said("a", "shop", "billing")
    handled(now + timedelta(seconds=3), attempts=1, generation=1)
    found = journey("a")
    told = story.tell("a")
    assert found is not None
    assert told is not None
    names = [attempt.name for attempt in found.attempts]
    assert names == [
        "attempt 1 of 5",
        "run 1 of 3",
        "2nd round: attempt 1 of 4",
        "2nd round: attempt 2 of 4",  # it worked
    ]
    texts = [line.text for line in told.lines]
    assert "billing 2.3.1: run 1 of 3: its process died" in texts
    assert "billing 2.3.1: 2nd round: attempt 1 of 4 failed: KeyError: 1" in texts


def test_texts_of_errors_are_cut_and_can_be_stored() -> None:
    envelope = said("a", "shop", "billing")
    error = ValueError("\ud800\x00" + "x" * 100_000)
    failed_rounds.note(
        envelope, "billing", attempts=0, tries=1, seconds=0.0, error=error, version="1"
    )
    row = FailedRound.objects.get()
    assert len(row.error) == failed_rounds.MOST_ERROR
    assert len(row.traceback) == failed_rounds.MOST_TRACEBACK


def test_old_rounds_are_forgotten_a_batch_at_a_time() -> None:
    envelope = said("a", "shop", "billing")
    for number in range(5):
        failed_rounds.note(
            envelope,
            "billing",
            attempts=number,
            tries=1,
            seconds=0.0,
            error=ValueError("no"),
            version="1",
        )
    later = utc_now() + timedelta(days=1)
    assert failed_rounds.forget(utc_now() - timedelta(days=1), 3) == 0
    assert [failed_rounds.forget(later, 3) for _ in range(3)] == [3, 2, 0]


def test_on_the_squeezed_scale_instants_keep_their_order_and_hours_do_not_hide_milliseconds() -> (
    None
):
    now = utc_now()
    times = [now, now + timedelta(milliseconds=20), now + timedelta(hours=4)]
    times.append(times[-1] + timedelta(milliseconds=30))
    stretches = [
        waterfall.Stretch("Handler", began_at, ended_at, "failed")
        for began_at, ended_at in pairwise(times)
    ]
    drawn = waterfall.squeezed(stretches)
    assert drawn[0].left == 0
    assert drawn[-1].left + drawn[-1].width == pytest.approx(1)
    assert all(each.width > 0.05 for each in drawn)
    assert drawn[1].width < 20 * drawn[0].width


def test_secret_fields_are_hidden_wherever_they_are() -> None:
    data = {
        "userId": 1,
        "accessToken": "x",
        "people": [{"email": "a@b", "name": "Ada"}],
        "card": {"number": 4, "month": 1},
    }
    shown, hidden = redacted(data)
    assert hidden == 3
    assert shown == {
        "userId": 1,
        "accessToken": HIDDEN,
        "people": [{"email": HIDDEN, "name": "Ada"}],
        "card": HIDDEN,
    }
    assert redacted(data, may_reveal=True) == (data, 0)
    assert redacted("text") == ("text", 0)


def test_payloads_without_end_are_cut_and_break_nothing() -> None:
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    shown, hidden = redacted(deep)
    assert hidden == 1
    assert HIDDEN in text_of(shown)
    text = text_of({"x": "y" * 300_000})
    assert len(text) < MOST_SHOWN + 100
    assert "cut after" in text


def test_the_envelope_is_read_from_whichever_copy_is_whole() -> None:
    envelope = said(new_message_id(), "shop", "billing")
    OutboxMessage.objects.update(envelope="{broken")
    InboxMessage.objects.create(
        message_id=envelope.id,
        service="billing",
        source="shop",
        type="x",
        priority="CRITICAL",
        created_at=utc_now(),
        state="handled",
        envelope=codec.encode(envelope, None),
    )
    found = journey(envelope.id)
    assert found is not None
    assert found.envelope is not None
    assert found.envelope.data == {"number": 1}
