"""Log lines as JSON: one object each, with the message that was being handled."""

import json
import logging
from io import StringIO

from messaging.context import handling
from messaging.json_logs import BusJsonFormatter
from tests.unit.test_codec import an_envelope


def test_a_line_names_its_event_and_its_message_and_says_nothing_of_its_data() -> None:
    out = StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(BusJsonFormatter())
    logger = logging.Logger("messaging.test")
    logger.addHandler(handler)
    logger.warning("%s lost", "one")
    with handling(an_envelope()):
        try:
            int("no")
        except ValueError:
            logger.exception("%s failed\n", "two")
    first, second = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (first["event"], first["text"], first["level"]) == ("%s lost", "one lost", "WARNING")
    assert "message_id" not in first
    assert second["message_id"] == "0195-x"
    assert second["message_type"] == "get.user.details"
    assert second["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert "ValueError: invalid" in second["exc_info"]
    assert "userId" not in out.getvalue()
