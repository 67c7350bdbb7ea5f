"""What a worker does for whoever can reach the broker: tell how it is, and nothing that ends it.

Celery's remote control is not signed. Of its own commands those stay that only tell, and those
that Flower needs for its events. The rest, such as ``shutdown``, ``revoke`` and ``pool_restart``,
answer that they are refused. Commands that a service has added itself stay as they are.
"""

from collections.abc import Callable
from typing import Any, Final

from celery.worker import control
from kombu.utils.url import maybe_sanitize_url

#: Celery's own commands that stay.
ALLOWED: Final = frozenset(
    {
        *("active", "active_queues", "clock", "conf", "ping", "query_task", "registered"),
        *("reserved", "revoked", "scheduled", "stats"),
        *("enable_events", "disable_events", "heartbeat"),
    }
)
_URLS: Final = ("broker_url", "broker_read_url", "broker_write_url")


def restrict() -> None:
    """Refuse Celery's other commands in this process, from now on. Idempotent."""
    commands: dict[str, Callable[..., Any]] = control.Panel.data
    for name, command in list(commands.items()):
        if command.__module__ == control.__name__ and name not in ALLOWED:
            commands[name] = _refused
    commands["conf"] = _conf


def _refused(_state: Any, **_arguments: Any) -> dict[str, str]:
    return {"error": "refused: workers take no orders by remote control; send them a signal"}


def _conf(state: Any, with_defaults: bool = False, **_: Any) -> dict[str, Any]:
    """Return Celery's settings, with the passwords of all broker URLs hidden: it leaves two."""
    settings: dict[str, Any] = control.conf(state, with_defaults)
    return {
        name: maybe_sanitize_url(value) if name in _URLS else value
        for name, value in settings.items()
    }
