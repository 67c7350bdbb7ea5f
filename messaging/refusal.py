"""A broker that answers and lets nobody in: waiting does not help, its URL has to be mended."""

from typing import TYPE_CHECKING, Final

from kombu.exceptions import OperationalError

from messaging.brokers import shown
from messaging.errors import BrokerError, ConfigurationError

if TYPE_CHECKING:
    from messaging.bus import MessageBus

#: By name, so that no driver is loaded for it: RabbitMQ's, and redis-py's.
_REFUSED: Final = frozenset({"AccessRefused", "AuthenticationError", "NoPermissionError"})
#: RabbitMQ's, when connecting: there is no such virtual host, or it is not this user's.
_NO_VIRTUAL_HOST: Final = "NotAllowed"


def refusal(error: BaseException | None) -> str:
    """Return why a broker let nobody in, and what to mend; empty if it is another trouble.

    Args:
        error: what connecting raised; what caused it is looked at too.
    """
    while error is not None:
        name = type(error).__name__
        if name in _REFUSED:
            return "the broker refuses the login: put the right user and password into BROKER_URL"
        if name == _NO_VIRTUAL_HOST:
            return "the broker has no such virtual host for this user: make it, or mend BROKER_URL"
        error = error.__cause__ or error.__context__
    return ""


def refused_by(bus: "MessageBus") -> str:
    """Return why the broker lets nobody in; empty if it does, or if it does not answer now.

    Connects to a server once, in a few ``broker_timeout_seconds`` at most. Of a broker file the
    folder is looked at, and nothing opened: a worker may fork after this.
    """
    if bus.profile.name == "sqlite":
        return _refused_by_folder(bus.config.broker_url)
    with bus.connection() as connection:
        try:
            connection.ensure_connection(
                max_retries=1, interval_start=0, timeout=bus.config.broker_timeout_seconds
            )
            connection.default_channel.close()
        except (
            *connection.connection_errors,
            *connection.channel_errors,
            OperationalError,
            BrokerError,
            OSError,
        ) as exc:
            reason = refusal(exc)
        else:
            return ""
        return f"{shown(bus.config.broker_url)}: {reason}" if reason else ""


def _refused_by_folder(url: str) -> str:
    from messaging.transport.files import files_of, prepare_folder  # no need of it elsewhere

    try:
        prepare_folder(files_of(url))
    except (ConfigurationError, OSError) as exc:
        return f"{url}: {exc}"
    return ""
