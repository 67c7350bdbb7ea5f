"""How often a password may be guessed."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from gateway_app.login_limit import MOST_FAILURES

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nobody_has_failed(settings: Settings) -> Iterator[None]:
    # Half a second for each guess else, which is what it is for.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def users() -> None:
    for name in ("ada", "grace"):
        User.objects.create_superuser(name, password="right")


def log_in(name: str, password: str, address: str = "192.0.2.1") -> bool:
    """Fill in the form; return whether it let the user in."""
    form = {"username": name, "password": password}
    answer = Client(REMOTE_ADDR=address).post("/admin/login/?next=/admin/", form)
    assert answer.status_code in (200, 302)
    return answer.status_code == 302


@pytest.mark.usefixtures("users")
def test_who_guesses_too_often_is_refused_even_the_right_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert not any(log_in("ada", f"guess {number}") for number in range(MOST_FAILURES))
    assert not log_in("ada", "right")
    assert "login of 'ada' from 192.0.2.1 refused: too many failures" in caplog.text


@pytest.mark.usefixtures("users")
def test_others_and_the_same_user_elsewhere_are_not_kept_out() -> None:
    for number in range(MOST_FAILURES):
        log_in("ada", f"guess {number}")
    assert log_in("grace", "right")
    assert log_in("ada", "right", address="192.0.2.2")


@pytest.mark.usefixtures("users")
def test_a_login_in_between_begins_the_count_anew() -> None:
    for _ in range(2):
        assert not any(log_in("ada", "wrong") for _ in range(MOST_FAILURES - 1))
        assert log_in("ada", "right")
