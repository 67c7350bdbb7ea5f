"""Dead letters as a table for other programs, with no more than the page would show."""

import csv
import json
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from gateway_app import deadletters
from gateway_app.models import DeadLetter
from gateway_app.ops import dead_letters
from gateway_app.ops.question import BadQuestion, question
from gateway_app.ops.rights import Right, requires, rights_of
from gateway_app.redaction import redacted
from messaging.envelope import utc_now

#: Rows of one file, which is made in memory.
MOST: Final = 5_000
#: Of a payload, in characters.
_PAYLOAD_LENGTH: Final = 1_000
_COLUMNS: Final = ("message_id", "type", "service", "source", "priority", "service_version")
_MORE: Final = ("reason", "title", "attempts", "state", "fingerprint")
#: A spreadsheet takes what begins so for a formula, and runs it.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@requires(Right.VIEW)
def letters(request: HttpRequest) -> HttpResponse:
    """Answer the letters that the page's address chooses, oldest first, at most `MOST`."""
    try:
        asked = question(request.GET.dict(), rights_of(request.user), utc_now())
        wanted = dead_letters.choice(asked)
    except BadQuestion as exc:
        return render(request, "ops/bad_question.html", {"reason": str(exc)}, status=400)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="dead-letters.csv"'
    out = csv.writer(response)
    out.writerow((*_COLUMNS, *_MORE, "parked_at", "payload"))
    rows = deadletters.find(wanted).defer("raw_body", "raw_headers_json", "traceback", "error")
    for letter in rows[:MOST].iterator(chunk_size=500):
        values = [getattr(letter, name) for name in (*_COLUMNS, *_MORE)]
        at, payload = letter.parked_at.isoformat(), _payload(letter, asked.may_see_payloads)
        out.writerow([_plain(value) for value in (*values, at, payload)])
    return response


def _payload(letter: DeadLetter, may_reveal: bool) -> str:
    if letter.envelope is None:
        return ""
    shown, _ = redacted(letter.envelope.get("data"), may_reveal)
    return json.dumps(shown, ensure_ascii=False)[:_PAYLOAD_LENGTH]


def _plain(value: object) -> str:
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
