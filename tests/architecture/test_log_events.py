"""The catalogue of log events is that of the code, and its events are texts that do not change."""

from tests.support import log_events


def test_the_catalogue_is_what_the_code_writes() -> None:
    """`python -m tests.support.log_events` writes it anew."""
    assert log_events.DOCUMENT.read_text() == log_events.document()


def test_an_event_is_the_same_whatever_it_is_about() -> None:
    """Else each message would make an event of its own."""
    assert [event for event in log_events.in_code() if not event.is_constant] == []
