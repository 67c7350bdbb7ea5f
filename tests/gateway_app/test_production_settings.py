"""What an installation answers that was set up as docs/production.md says, and half set up."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT

#: Asks the pages for what browsers would see; prints the answers.
ASK = """
import json, sys
import django
django.setup()
from django.test import Client

client = Client(headers=json.loads(sys.argv[2]))
answer = client.get(sys.argv[1])
cookies = {name: dict(morsel) for name, morsel in answer.cookies.items()}
print(json.dumps({"status": answer.status_code, **answer.headers, "cookies": cookies}))
"""
PROXIED = {"Host": "bus.example.com", "X-Forwarded-Proto": "https"}


def documented(**changes: str) -> dict[str, str]:
    """Return the variables of the example, with what it leaves to its reader."""
    lines = (ROOT / "docs/deploy/production.env").read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    own = {
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        "MESSAGING_SIGNING_KEYS": f"2026a:{secrets.token_urlsafe(32)}",
        "FLOWER_BASIC_AUTH": "anna:long",
        # What this host lets a process open is not the example's affair.
        "MESSAGING_HTTP_CONCURRENCY": "10",
    }
    return {**dict(pairs), **own, **changes}


def run(
    *arguments: str, folder: Path, environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": os.environ["PATH"], **environment, "VAR_DIR": str(folder)}
    env["DJANGO_SETTINGS_MODULE"] = "gateway_app.settings"
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def ask(path: str, folder: Path, headers: dict[str, str], **changes: str) -> dict[str, Any]:
    """Return status, headers and cookies of a page, on a database without tables."""
    environment = documented(DATABASE_URL="", **changes)
    done = run("-c", ASK, path, json.dumps(headers), folder=folder, environment=environment)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def setting(name: str, folder: Path, **environment: str) -> Any:
    code = f"import json; from django.conf import settings; print(json.dumps(settings.{name}))"
    done = run("-c", code, folder=folder, environment=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_djangos_check_of_deployments_finds_nothing(tmp_path: Path) -> None:
    command = ("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    done = run(*command, folder=tmp_path, environment=documented())
    assert done.returncode == 0, done.stderr
    # Those that are answered in the settings, and no others.
    assert "no issues (2 silenced)" in done.stdout


def test_two_variables_move_an_installation_and_a_third_one_makes_it_production(
    tmp_path: Path,
) -> None:
    moved = {name: documented()[name] for name in ("BROKER_URL", "DATABASE_URL")}
    assert setting("DEBUG", tmp_path, **moved) is True
    assert setting("SECURE_SSL_REDIRECT", tmp_path, **moved) is False
    made = {**moved, "DJANGO_DEBUG": "0", "DJANGO_SECRET_KEY": "long"}
    assert setting("DEBUG", tmp_path, **made) is False
    assert setting("SECURE_SSL_REDIRECT", tmp_path, **made) is True


def test_a_laptop_with_nothing_set_up_starts_and_needs_no_https(tmp_path: Path) -> None:
    assert setting("DEBUG", tmp_path) is True
    assert setting("SECURE_SSL_REDIRECT", tmp_path) is False


def test_plain_http_is_sent_to_https_and_probes_are_not(tmp_path: Path) -> None:
    page = ask("/admin/login/", tmp_path, {"Host": "bus.example.com"})
    assert page["status"] == 301
    assert page["Location"] == "https://bus.example.com/admin/login/"
    assert ask("/health", tmp_path, {"Host": "localhost"})["status"] == 200


def test_behind_the_proxy_pages_come_with_safe_cookies_and_headers(tmp_path: Path) -> None:
    page = ask("/admin/login/", tmp_path, PROXIED)
    assert page["status"] == 200
    assert page["Strict-Transport-Security"] == "max-age=2592000"
    assert page["X-Content-Type-Options"] == "nosniff"
    assert page["Referrer-Policy"] == "same-origin"
    assert page["X-Frame-Options"] == "DENY"
    cookie = page["cookies"]["csrftoken"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")


def test_the_session_cookie_is_as_safe_and_ends_with_the_day(tmp_path: Path) -> None:
    names = ("COOKIE_SECURE", "COOKIE_HTTPONLY", "COOKIE_SAMESITE", "COOKIE_AGE")
    values = [setting(f"SESSION_{name}", tmp_path, **documented()) for name in names]
    assert values == [True, True, "Lax", 12 * 3600]


def test_a_header_that_no_proxy_was_named_for_is_not_believed(tmp_path: Path) -> None:
    assert ask("/admin/login/", tmp_path, PROXIED, DJANGO_PROXY_SSL_HEADER="")["status"] == 301


def test_a_host_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    forged = {**PROXIED, "Host": "evil.example.com"}
    assert ask("/admin/login/", tmp_path, forged)["status"] == 400


def test_postgresql_connections_are_kept_and_looked_at_before_use(tmp_path: Path) -> None:
    database = setting("DATABASES", tmp_path, **documented())["default"]
    assert (database["CONN_MAX_AGE"], database["CONN_HEALTH_CHECKS"]) == (60, True)


def test_weak_passwords_are_refused(tmp_path: Path) -> None:
    code = (
        "import django; django.setup()\n"
        "from django.contrib.auth.password_validation import validate_password\n"
        "validate_password('password1')"
    )
    done = run("-c", code, folder=tmp_path, environment=documented())
    assert "too common" in done.stderr
