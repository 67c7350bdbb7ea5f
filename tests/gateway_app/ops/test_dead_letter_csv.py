"""Dead letters as a file: who gets it, and what is in it."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from gateway_app import replays
from gateway_app.models import DeadLetter
from messaging.envelope import utc_now
from tests.gateway_app.deadletters.letters import park

pytestmark = pytest.mark.django_db
PATH = "/ops/dead-letters/"


def test_the_table_for_other_programs_shows_no_more_than_the_page() -> None:
    letter = park("m0", error="=cmd()")
    envelope = {**(letter.envelope or {}), "data": {"invoice": 1, "password": "hunter2"}}
    DeadLetter.objects.update(envelope_json=json.dumps(envelope))
    park("old", at=utc_now() - timedelta(days=3))
    replays.discard(park("gone"), actor="sam")
    user = User.objects.create_user("anna", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_bus"))
    client = Client()
    client.force_login(user)
    answer = client.get(f"{PATH}letters.csv", {"group": letter.fingerprint})
    (row,) = csv.DictReader(io.StringIO(answer.content.decode()))
    assert row["message_id"] == "m0"
    assert row["title"] == "'=cmd()"
    assert json.loads(row["payload"]) == {"invoice": 1, "password": "[redacted]"}
    assert client.get(f"{PATH}letters.csv", {"state": "lost"}).status_code == 400
    assert client.get(f"{PATH}letters.csv", {"at": "yesterday"}).status_code == 400
    assert Client().get(f"{PATH}letters.csv").status_code == 302
    user.user_permissions.add(Permission.objects.get(codename="edit_payload"))
    assert "hunter2" in client.get(f"{PATH}letters.csv").content.decode()
