"""``manage.py bus_contracts`` where the registry is at hand: it need not be told what runs."""

from collections.abc import Sequence
from typing import Any

from gateway_app.contracts.running import running_contracts
from messaging.contracts.contract import Contract
from messaging.management.commands import bus_contracts


class Command(bus_contracts.Command):
    """The command of every project, which asks this gateway's registry unless told otherwise."""

    @property
    def needs_source(self) -> bool:
        """Whether somebody has to say where it is known what runs."""
        return False

    def running(self, options: dict[str, Any]) -> Sequence[Contract]:
        """Return the contracts of what runs, from the registry if nothing else is named."""
        if options["gateway"] or options["against"]:
            return super().running(options)
        return running_contracts()
