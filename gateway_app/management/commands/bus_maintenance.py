"""``manage.py bus_maintenance``: takes a service, or one instance of it, out and back in."""

from typing import Any

from django.core.management.base import CommandParser

from gateway_app.commands import BusCommand, duration, host_user
from gateway_app.models import Service, ServiceInstance
from gateway_app.registry.maintenance import LONGEST, end_maintenance, set_maintenance
from gateway_app.registry.wording import instant_text
from messaging.envelope import utc_now


class Command(BusCommand):
    """Sets or ends maintenance."""

    help = (
        "Take a service, or one instance of it, out for a while: the gateway sends it no requests."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what is meant, and for how long."""
        parser.add_argument("service", metavar="SERVICE", help="name of the service")
        parser.add_argument(
            "--instance", metavar="ID", help="only this instance; the beginning of its id will do"
        )
        parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the record")
        action = parser.add_mutually_exclusive_group(required=True)
        action.add_argument(
            "--for",
            dest="duration",
            type=duration(LONGEST),
            metavar="T",
            help="for so long, such as 30m",
        )
        action.add_argument("--end", action="store_true", help="end it now")

    def run(self, options: dict[str, Any]) -> None:
        """Set or end it; in the registry when this returns."""
        target = _target(options["service"], options["instance"])
        now = utc_now()
        if options["end"]:
            end_maintenance(target, actor=host_user(), now=now)
            self.stdout.write(f"{target}: no maintenance any more")
            return
        until = now + options["duration"]
        set_maintenance(
            target, until, actor=host_user(), now=now, reason=options["reason"].strip()
        )
        self.stdout.write(f"{target}: in maintenance until {instant_text(until, now)}")


def _target(name: str, instance_id: str | None) -> Service | ServiceInstance:
    service = Service.objects.filter(name=name).first()
    if service is None:
        raise ValueError(f"no service named {name!r} has registered")
    if instance_id is None:
        return service
    found = service.instances.filter(left_at=None, instance_id__startswith=instance_id)[:2]
    if len(found) != 1:
        which = "no instance" if not found else "more than one instance"
        raise ValueError(f"{name} has {which} with an id that begins with {instance_id!r}")
    return found[0]
