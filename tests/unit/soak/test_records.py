"""What senders write down."""

from pathlib import Path

from tests.soak.records import Notebook, Sending, read


def test_what_was_being_written_at_the_end_counts_as_not_written(tmp_path: Path) -> None:
    sending = Sending(
        number="n1",
        how="command",
        service="steady",
        priority="LOW",
        begun_at=1.0,
        ended_at=2.0,
        message_id="m1",
    )
    file = tmp_path / "a.sent"
    with Notebook(file) as notebook:
        notebook.write(sending)
    with file.open("a") as half:
        half.write('{"number": "n2", "ho')
    assert read([file]) == [sending]
