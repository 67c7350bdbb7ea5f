"""What `manage.py check` says about this installation, as far as its settings tell.

Those of production have nothing to say where DEBUG is on. Most are part of `check --deploy` alone;
a secret that everybody knows stops every start.
"""

import difflib
import resource
from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

from gateway_app import traps
from messaging.apps import configured
from messaging.errors import ConfigurationError

#: Of these checks, for who runs them alone.
TAG: Final = "gateway"
#: What settings.py falls back to on a laptop; public, so worth nothing anywhere else.
INSECURE_KEY: Final = "insecure-development-key"

#: What Celery itself reads, past all settings: the worker would consume from elsewhere.
_CELERY_READS: Final = frozenset(
    {"CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_LOADER"}
)
#: So alike are a name and its misspelling; GATEWAY_HOST and GATEWAY_PORT are not.
_ALIKE: Final = 0.87
#: Open files of a process besides its connections: database, broker, logs, sockets of its own.
_OTHER_FILES: Final = 100


@register(TAG, Tags.security)
def check_secret_key(**_: Any) -> list[CheckMessage]:
    """Refuse to run in production with a secret that everybody knows."""
    if settings.DEBUG or _secret_key() not in ("", INSECURE_KEY):
        return []
    text = "DJANGO_DEBUG is off and DJANGO_SECRET_KEY is empty or the development key."
    return [traps.SECRET_KEY.found(text)]


@register(TAG, Tags.urls)
def check_pages(**_: Any) -> list[CheckMessage]:
    """Report pages that lead nowhere: a project that hosts the gateway has URLs of its own."""
    if not getattr(settings, "ROOT_URLCONF", ""):
        return [traps.NO_PAGES.found("ROOT_URLCONF is not set.")]
    missing = [name for name in ("ops:overview", "admin:index") if not _has_address(name)]
    return [traps.NO_PAGES.found(f"There is no {' and no '.join(missing)}.")] if missing else []


@register(TAG)
def check_environment(**_: Any) -> list[CheckMessage]:
    """Report variables of the environment that look meant for this, and are not read."""
    return list(_misspelled(settings.ENVIRONMENT_NAMES)) + [
        traps.PAST_SETTINGS.found(f"{name} is set.")
        for name in sorted(_CELERY_READS & settings.ENVIRONMENT_NAMES)
    ]


@register(TAG, deploy=True)
def check_debug(**_: Any) -> list[CheckMessage]:
    """Report that debug mode is on."""
    return [traps.DEBUG.found("DEBUG is on.")] if settings.DEBUG else []


@register(TAG, deploy=True)
def check_hosts(**_: Any) -> list[CheckMessage]:
    """Report that every host name is allowed, or none but this host's own."""
    hosts = set(settings.ALLOWED_HOSTS)
    if settings.DEBUG:
        return []
    if "*" in hosts:
        return [traps.ANY_HOST.found("DJANGO_ALLOWED_HOSTS allows every name.")]
    if hosts <= {"localhost", "127.0.0.1", "[::1]"}:
        return [traps.NO_HOST.found("DJANGO_ALLOWED_HOSTS names nothing but this host.")]
    return []


@register(TAG, deploy=True)
def check_flower(**_: Any) -> list[CheckMessage]:
    """Report that Flower would ask nobody for a password."""
    if settings.DEBUG or settings.FLOWER_BASIC_AUTH:
        return []
    return [traps.FLOWER_WITHOUT_PASSWORD.found("FLOWER_BASIC_AUTH is empty.")]


@register(TAG, deploy=True)
def check_callers(**_: Any) -> list[CheckMessage]:
    """Report that the gateway lets anybody call."""
    try:
        is_open = configured().http_auth == "none"
    except ConfigurationError:
        return []  # of messaging.checks
    if settings.DEBUG or not is_open:
        return []
    return [traps.OPEN_GATEWAY.found("http_auth is none.")]


@register(TAG, deploy=True)
def check_open_files(**_: Any) -> list[CheckMessage]:
    """Report that a process may not open as many connections as the gateway lets in."""
    try:
        clients = configured().http_concurrency
    except ConfigurationError:
        return []  # of messaging.checks
    # A proxied request has one connection to its client and one to its service.
    needed = 2 * clients + _OTHER_FILES
    allowed, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if settings.DEBUG or allowed == resource.RLIM_INFINITY or allowed >= needed:
        return []
    text = f"{allowed} files may be open, http_concurrency {clients} needs {needed}."
    return [traps.FEW_OPEN_FILES.found(text)]


def _secret_key() -> str:
    try:
        return str(settings.SECRET_KEY)
    except ImproperlyConfigured:
        return ""  # Django refuses to read an empty one


def _has_address(name: str) -> bool:
    try:
        reverse(name)
    except NoReverseMatch:
        return False
    return True


def _misspelled(names: frozenset[str]) -> Iterator[CheckMessage]:
    for name in sorted(names - settings.KNOWN_ENVIRONMENT):
        near = difflib.get_close_matches(name, settings.KNOWN_ENVIRONMENT, n=1, cutoff=_ALIKE)
        if near:
            text = f"{name} is set and means nothing here; did you mean {near[0]}?"
            yield traps.MISSPELLED.found(text)
