"""API tokens made and taken back: by the rules, by command, in the admin."""

import asyncio
import json
import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from gateway_app import tokens
from gateway_app.http import token_use
from gateway_app.http.routing import read
from gateway_app.http.token_use import EVERY_SECONDS, TokenUse
from gateway_app.management.commands import bus_token
from gateway_app.models import ApiToken, AuditRecord
from gateway_app.registry import registry_status
from messaging.envelope import utc_now
from tests.gateway_app.test_admin import a_client, act, page
from tests.gateway_app.test_commands import typed

pytestmark = pytest.mark.django_db

ADD = reverse("admin:gateway_app_apitoken_add")
TEXT = re.compile(r"mbus_([0-9a-f]{12})_([0-9a-f]{64})")


def make(name: str = "shop", *scopes: str, seconds: float = 60) -> tuple[ApiToken, str]:
    now = utc_now()
    end = now + timedelta(seconds=seconds)
    return tokens.create(name, scopes or ["/api/*"], expires_at=end, actor="ann", now=now)


def call(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("bus_token", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def audited() -> list[tuple[str, str, str]]:
    rows = AuditRecord.objects.order_by("pk")
    return list(rows.values_list("actor", "action", "detail"))


def test_the_secret_is_kept_nowhere() -> None:
    token, text = make()
    found = TEXT.fullmatch(text)
    assert found is not None
    assert found[1] == token.public_id
    row = json.dumps(ApiToken.objects.values().get(), default=str)
    assert found[2] not in row + json.dumps(audited())
    assert tokens.hash_of(found[2]) == token.secret_hash
    assert tokens.parse(text) == found.groups()
    assert make()[1] != text


@pytest.mark.parametrize(
    ("scope", "covered", "others"),
    [
        (
            "/api/users/*",
            ["/api/users/me", "/api/users/{id}", "/api/users/{id}/keys"],
            ["/api/users", "/api/users-old/x", "/api/{any}/me", "/api/x/users/me"],
        ),
        ("/api/users/{id}", ["/api/users/{id}"], ["/api/users/me", "/api/users/{id}/keys"]),
        ("/api/users", ["/api/users"], ["/api/users/me", "/api/user"]),
        ("/api/*", ["/api/x", "/api/x/y"], ["/apiary/x"]),
    ],
)
def test_a_scope_is_a_route_or_all_below_a_path(
    scope: str, covered: list[str], others: list[str]
) -> None:
    assert tokens.checked_scopes([scope]) == [scope]
    assert [path for path in covered + others if tokens.covers([scope], path)] == covered
    assert tokens.covers(["/api/nothing", scope], covered[0])


@pytest.mark.parametrize(
    "scopes",
    [
        [],
        ["*"],
        ["/*"],
        ["/api"],
        ["/api/"],
        ["/api/*/x"],
        ["/api/x*"],
        ["/api//x"],
        ["/bus/*"],
        ["api/x"],
        ["/api/x y"],
        ["/api/%78"],
        ["/api/x?y"],
        [f"/api/{number}" for number in range(51)],
    ],
)
def test_what_is_no_scope_is_refused(scopes: list[str]) -> None:
    with pytest.raises(ValueError, match="scope"):
        make("shop", *scopes) if scopes else tokens.checked_scopes(scopes)
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb"])
def test_a_token_has_a_name_and_an_end_that_is_to_come(name: str) -> None:
    with pytest.raises(ValueError, match="name: expected 1 to 100 printable"):
        make(name)
    with pytest.raises(ValueError, match="expired already"):
        make(seconds=0)


def test_a_token_is_revoked_once_and_both_are_on_record() -> None:
    token, _ = make()
    assert tokens.revoke(token, actor="bob", now=utc_now())
    assert not tokens.revoke(token, actor="eve", now=utc_now())
    text = f"shop ({token.public_id}) for /api/*"
    assert audited() == [("ann", "token", text), ("bob", "revoke", text)]
    token.refresh_from_db()
    assert token.state_at(utc_now()) == "revoked"


def test_tokens_are_read_again_only_after_one_was_made_or_revoked(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    registry_status.load()
    live, _ = make()
    gone, _ = make()
    ApiToken.objects.filter(pk=make()[0].pk).update(expires_at=utc_now())
    first = read()
    assert set(first.tokens.by_id) == {live.public_id, gone.public_id}
    with django_assert_num_queries(1):
        assert read(first) is first
    tokens.revoke(gone, actor="ann", now=utc_now())
    with django_assert_num_queries(2):
        second = read(first)
    assert set(second.tokens.by_id) == {live.public_id}
    assert (second.tree, second.revision) == (first.tree, first.revision)


@pytest.mark.django_db(transaction=True)
def test_a_use_is_written_once_a_minute_behind_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token, _ = make()
    written: list[int] = []
    put = token_use._put

    def counted(pk: int) -> None:
        written.append(pk)
        put(pk)

    monkeypatch.setattr(token_use, "_put", counted)
    seconds = 0.0

    async def use_it() -> None:
        nonlocal seconds
        use = TokenUse(lambda: seconds)
        for _ in range(100):
            use.note(token.pk)
            seconds += EVERY_SECONDS / 100 - 0.01
        assert written == []  # not before the request goes on
        await use.close()
        assert len(written) == 1
        seconds += 2.0
        use.note(token.pk)
        await use.close()

    asyncio.run(use_it())
    assert written == [token.pk] * 2
    token.refresh_from_db()
    first = token.last_used_at
    assert first is not None
    put(token.pk)  # another process, in the same minute
    token.refresh_from_db()
    assert token.last_used_at == first


def test_the_command_makes_lists_and_revokes() -> None:
    text, said = call("create", "shop", "--scope", "/api/users/*", "--for", "90d")
    assert TEXT.fullmatch(text.strip())
    assert "not shown again" in said
    public_id = text.split("_")[1]
    listed, _ = call("list")
    assert public_id in listed
    assert "/api/users/*" in listed
    assert text.strip().split("_")[2] not in listed
    assert "revoked" in call("revoke", public_id)[0]
    assert call("list")[0].strip() == "No tokens."
    assert "revoked before" in call("revoke", public_id)[0]
    (row,) = json.loads(call("list", "--all", "--json")[0])
    assert (row["state"], row["name"], row["scopes"]) == ("revoked", "shop", ["/api/users/*"])
    assert "secret" not in str(row)


def test_a_token_for_ever_is_made_with_a_warning() -> None:
    out, err = call("create", "shop", "--scope", "/api/*", "--never", "--json")
    made = json.loads(out)
    assert made["expires_at"] is None
    assert TEXT.fullmatch(made["token"])
    assert "never expires" in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["burn"],
        ["create"],
        ["create", "shop", "--scope", "/api/*"],
        ["create", "shop", "--for", "1d"],
        ["create", "shop", "--scope", "/api/*", "--for", "soon"],
        ["create", "shop", "--scope", "/api/*", "--for", "99999d"],
        ["create", "shop", "--scope", "/api/*", "--for", "1d", "--never"],
        ["revoke"],
        ["list", "--colour"],
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        typed(bus_token.Command, *arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["create", "shop", "--scope", "users", "--never"], "scope: expected /api/"),
        (["create", " ", "--scope", "/api/*", "--never"], "name: expected"),
        (["revoke", "nobody"], "no token has the id 'nobody'"),
    ],
)
def test_wrong_input_is_exit_code_2(arguments: list[str], text: str) -> None:
    with pytest.raises(CommandError, match=text) as caught:
        call(*arguments)
    assert caught.value.returncode == 2
    assert not ApiToken.objects.exists()


def test_the_admin_shows_a_new_token_once() -> None:
    client = a_client("add_apitoken", "view_apitoken")
    data = {"name": "shop", "scopes_text": "/api/users/*\n/api/news", "expires_at": ""}
    answer = client.post(ADD, data)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["cache-control"]
    text = answer.content.decode()
    found = TEXT.search(text)
    assert found is not None
    assert "It never expires" in text
    token = ApiToken.objects.get()
    assert token.scopes == ["/api/news", "/api/users/*"]
    assert (token.created_by, token.secret_hash) == ("ann", tokens.hash_of(found[2]))
    assert audited()[0][:2] == ("ann", "token")
    for shown in (page(ApiToken), page(ApiToken, token.pk), ADD):
        again = client.get(shown).content.decode()
        assert found[2] not in again
        assert token.secret_hash not in again
    assert client.cookies.output().find(found[2]) == -1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"scopes_text": "users"}, "scope: expected /api/"),
        ({"scopes_text": ""}, "This field is required"),
        ({"name": ""}, "This field is required"),
        ({"expires_at": "2020-01-01 00:00"}, "expired already"),
    ],
)
def test_the_admin_says_what_is_wrong(changed: dict[str, str], said: str) -> None:
    client = a_client("add_apitoken", "view_apitoken")
    data = {"name": "shop", "scopes_text": "/api/*", "expires_at": ""} | changed
    assert said in client.post(ADD, data).content.decode()
    assert not ApiToken.objects.exists()


def test_the_admin_finds_and_revokes_for_those_who_may() -> None:
    token, _ = make("shop")
    other, _ = make("till")
    admin = a_client("view_apitoken", "change_apitoken")
    assert admin.get(ADD).status_code == 403
    found = admin.get(page(ApiToken), {"q": "till", "state": "live"}).content.decode()
    assert other.public_id in found
    assert token.public_id not in found
    assert "1 revoked" in act(admin, "revoke", token)
    assert audited()[-1][:2] == ("ann", "revoke")
    for state, shown in (("revoked", token), ("live", other), ("expired", None)):
        listed = admin.get(page(ApiToken), {"state": state}).content.decode()
        for each in (token, other):
            assert (each.public_id in listed) == (each == shown)
    assert admin.post(page(ApiToken, other.pk), {"name": "x"}).status_code == 403
    delete: Any = reverse("admin:gateway_app_apitoken_delete", args=[other.pk])
    assert admin.post(delete, {"post": "yes"}).status_code == 403


def test_who_may_only_look_revokes_nothing() -> None:
    token, _ = make()
    act(a_client("view_apitoken"), "revoke", token)
    token.refresh_from_db()
    assert token.revoked_at is None
