"""``manage.py bus_resolve SERVICE``: what to do with messages for a service that is gone."""

from typing import Any

from django.core.management.base import CommandParser

from gateway_app import hints, removed_services
from gateway_app.commands import BusCommand, host_user
from messaging.envelope import is_service_name


class Command(BusCommand):
    """Parks or redirects what is kept for a service that will not come back."""

    help = (
        "End the custody of all messages that are kept for a service: as dead letters, or by "
        "sending them to another service. What was published already may have been handled "
        "under the old name, and another service does not know that."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the service, and what becomes of its messages."""
        parser.add_argument("service", metavar="SERVICE", help="the service that is gone")
        parser.add_argument("--reason", required=True, metavar="TEXT", help="for the record")
        parser.add_argument("--id", metavar="ID", help="only this message, which cannot go on")
        parser.add_argument("--to", metavar="NAME", help="send them to this service instead")
        parser.add_argument(
            "--force", action="store_true", help="all of them, though the service is up"
        )

    def run(self, options: dict[str, Any]) -> None:
        """Resolve them."""
        service, to = options["service"], options["to"]
        for name in (service,) if to is None else (service, to):
            if not is_service_name(name):
                raise ValueError(f"not a service name: {name!r}")
        if to == service:
            raise ValueError(f"expected another service than {service} for --to")
        if not options["reason"].strip():
            raise ValueError("expected a reason: whoever asks for these messages will want it")
        if not removed_services.is_known(service):
            raise ValueError(f"no service {service!r} has ever registered; nothing is kept for it")
        is_all = options["id"] is None
        if is_all and not options["force"] and removed_services.is_up(service):
            raise ValueError(
                f"{service} is up, and handles what is kept for it: choose one message with --id, "
                "or end the custody of all with --force"
            )
        count = removed_services.resolve(
            service,
            to=to,
            reason=options["reason"],
            actor=host_user(),
            message_id=options["id"],
        )
        self.stdout.write(f"{count} {f'sent to {to}' if to else 'parked'}.")
        if to and (hint := hints.unknown(to)):
            self.stderr.write(f"bus_resolve: {hint}")
