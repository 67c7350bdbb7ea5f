"""The transport: what kombu and Celery hold on to for one connection."""

import sqlite3
from typing import Any

import kombu.transport.base
import kombu.transport.virtual

from messaging.errors import BrokerBusy, BrokerUnavailable, LeaseLost, PublishUncertain
from messaging.transport.broker import Broker
from messaging.transport.channel import Channel
from messaging.transport.consuming import Consumption
from messaging.transport.files import files_of
from messaging.transport.hub import HubDrain
from messaging.transport.options import Options

#: kombu is only partly annotated; from here on it is dynamic, whatever a type checker follows.
virtual: Any = kombu.transport.virtual
base: Any = kombu.transport.base

#: After these the connection is closed and made anew, by kombu's and Celery's own retry.
CONNECTION_ERRORS: tuple[type[Exception], ...] = (
    BrokerUnavailable,
    BrokerBusy,
    PublishUncertain,
    LeaseLost,
    *base.Transport.connection_errors,
)


class Transport(virtual.Transport):
    """One connection to a broker file. Publishing needs no state of its own; consuming does."""

    Channel = Channel

    can_parse_url = True
    default_connection_params: dict[str, Any] = {}  # noqa: RUF012 - kombu reads it as an attribute
    driver_type = "sqlite"
    driver_name = "sqlite3"
    connection_errors = CONNECTION_ERRORS
    channel_errors = base.Transport.channel_errors
    #: Said explicitly, or kombu would answer "no route" by connecting again.
    recoverable_connection_errors = CONNECTION_ERRORS
    recoverable_channel_errors: tuple[type[Exception], ...] = ()

    implements = virtual.Transport.implements.extend(
        asynchronous=True,
        batch_publish=True,
        exchange_type=frozenset(["direct", "topic", "fanout"]),
        heartbeats=False,
    )

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        #: The kombu Connection; None once that is closed.
        self.client: Any = client
        self._broker: Broker | None = None
        self._consumption: Consumption | None = None
        self._drain: HubDrain | None = None
        self._options: Options | None = None

    def driver_version(self) -> str:
        """Return the version of the SQLite library."""
        return sqlite3.sqlite_version

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:
        """Return the URL as it is: there are no secrets in it."""
        return uri

    @property
    def options(self) -> Options:
        """The transport options, as they were when the connection was made."""
        if self._options is None:
            self._options = Options.parse(self.client.transport_options)
        return self._options

    @property
    def broker(self) -> Broker:
        """This process's side of the broker file.

        A forked child gets one of its own and goes on publishing through inherited connections.
        """
        if self._broker is None or self._broker.store.inherited:
            url = self.client.hostname or ""
            # kombu's failover (``a;b``) parses the URL itself and leaves only the path.
            full = url if "://" in url else f"sqlite:///{self.client.virtual_host}"
            self._broker = Broker.at(files_of(full))
        return self._broker

    @property
    def consumption(self) -> Consumption:
        """What this connection consumes."""
        if self._consumption is None:
            self._consumption = Consumption(self.broker, self.options)
        return self._consumption

    def establish_connection(self) -> "Transport":
        """Open or create the broker file.

        Raises:
            ConfigurationError: this file can never be a broker here.
            BrokerUnavailable, BrokerBusy: not now; safe to try again.
        """
        self._options = self._broker = self._consumption = None
        self.broker.store.open(self.options.busy_seconds)
        return self

    def verify_connection(self, connection: Any) -> bool:
        """Return whether the connection can still be used, or has to say itself that it cannot.

        kombu replaces one that cannot in silence, and the new one consumes nothing: who consumes
        must learn of the loss by an exception.
        """
        if self._broker is None:
            return False
        store = self._broker.store
        consumes = self._consumption is not None and self._consumption.has_consumers
        return not store.retired or store.inherited or consumes

    def close_connection(self, connection: Any) -> None:
        """Give back all that this connection holds, and forget its exclusive queues."""
        drain, self._drain = self._drain, None
        consumption, self._consumption = self._consumption, None
        try:
            if drain is not None:
                drain.close()
            if consumption is not None:
                consumption.close()
        finally:
            self._avail_channels.clear()
            for channel in list(self.channels):
                channel.abandon()

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> None:
        """Wait for one message and deliver it.

        Args:
            connection: this transport, as kombu passes it.
            timeout: seconds; None waits for ever, 0 only looks.
            kwargs: ignored.

        Raises:
            TimeoutError: none came in time.
            SessionLost, ConsumerCancelled, BrokerUnavailable, BrokerBusy: connect again.
        """
        self.consumption.drain(timeout)

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Have Celery's event loop deliver; ``drain_events`` is not needed then."""
        self._drain = HubDrain(self.consumption, loop)

    def unregister_from_event_loop(self, connection: Any, loop: Any) -> None:
        """Undo `register_with_event_loop`."""
        if self._drain is not None:
            self._drain.close()
            self._drain = None
