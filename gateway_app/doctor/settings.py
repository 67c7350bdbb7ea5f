"""The settings: what `manage.py check` and `check --deploy` say of them."""

from collections.abc import Iterator

from django.core.checks import CheckMessage, run_checks

from gateway_app import checks
from gateway_app.doctor.finding import Finding, Grade, fine
from messaging.checks import TAG as MESSAGING_TAG


def look() -> Iterator[Finding]:
    """Yield every trap that the settings alone tell."""
    tags = [MESSAGING_TAG, checks.TAG]
    every = run_checks(tags=tags, include_deployment_checks=True)
    found = [message for message in every if not message.is_silenced()]
    if not found:
        yield fine("Settings", "no known trap")
    for message in found:
        yield _finding(message)


def _finding(message: CheckMessage) -> Finding:
    grade = Grade.BROKEN if message.is_serious() else Grade.WARNING
    return Finding("Settings", grade, str(message.msg), message.id or "", message.hint or "")
