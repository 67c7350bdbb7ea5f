"""``manage.py bus_relay``: a relay on its own, where no worker runs on this database."""

from typing import Any

from gateway_app.bus import communicator
from gateway_app.commands import BusCommand
from messaging import ConfigurationError
from messaging.custody.control import Control
from messaging.custody.relay import Relay
from messaging.database_threads import keep_no_queries
from messaging.refusal import refused_by


class Command(BusCommand):
    """Publishes what is due and reads receipts, until it is stopped."""

    help = (
        "Publish what is due in this database, and read the gateway's receipts, until Ctrl-C. "
        "Every worker does the same; this is for databases without one. Any number may run."
    )

    def run(self, options: dict[str, Any]) -> None:
        """Work until Ctrl-C; a broker that is away is waited for."""
        if refused := refused_by(communicator.bus):
            raise ConfigurationError(refused)
        keep_no_queries()
        control = Control(communicator.bus, communicator.name)
        relay = Relay(communicator.bus, communicator.name)
        control.start()
        try:
            relay.run()
        finally:
            control.stop()
