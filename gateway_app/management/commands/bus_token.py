"""``manage.py bus_token``: makes, lists and takes back API tokens."""

from datetime import timedelta
from typing import Any, Final

from django.core.management.base import CommandParser

from gateway_app import tokens
from gateway_app.commands import BusCommand, duration, host_user, table
from gateway_app.models import ApiToken
from gateway_app.registry.wording import instant_text
from messaging.commands import OneLineParser
from messaging.envelope import utc_now

#: Longer is rather never.
_LONGEST: Final = timedelta(days=3650)
_HEADING: Final = ("ID", "NAME", "STATE", "EXPIRES", "LAST USED", "SCOPES")


class Command(BusCommand):
    """Manages API tokens."""

    help = "Make, list and take back the API tokens that callers of the gateway's routes show."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what is done, and to which token."""
        # The parser's own class would print a page of usage for a wrong word.
        what = parser.add_subparsers(dest="what", required=True, parser_class=OneLineParser)
        create = what.add_parser("create", help="make a token and print it, this once")
        create.add_argument("name", metavar="NAME", help="who has it and what for")
        create.add_argument(
            "--scope",
            action="append",
            required=True,
            metavar="PATH",
            dest="scopes",
            help="a route it opens, such as /api/users/{id}, or /api/users/*; may be repeated",
        )
        end = create.add_mutually_exclusive_group(required=True)
        end.add_argument(
            "--for",
            dest="duration",
            type=duration(_LONGEST),
            metavar="T",
            help="for so long, such as 90d",
        )
        end.add_argument("--never", action="store_true", help="it never expires")
        listed = what.add_parser("list", help="list tokens, the newest first; no secrets")
        listed.add_argument(
            "--all", action="store_true", help="those that expired or were revoked, too"
        )
        revoke = what.add_parser("revoke", help="take a token back, for ever")
        revoke.add_argument("id", metavar="ID", help="the part after mbus_")
        for each in (create, listed, revoke):
            each.add_argument("--json", action="store_true", help="print only JSON")

    def run(self, options: dict[str, Any]) -> None:
        """Make, list or revoke."""
        {"create": self._create, "list": self._list, "revoke": self._revoke}[options["what"]](
            options
        )

    def _create(self, options: dict[str, Any]) -> None:
        now = utc_now()
        token, text = tokens.create(
            options["name"],
            options["scopes"],
            expires_at=None if options["never"] else now + options["duration"],
            actor=host_user(),
            now=now,
        )
        if options["never"]:
            self.stderr.write("It never expires: who finds it can use it until it is revoked.")
        if options["json"]:
            self.print_json({**_described(token), "token": text})
        else:
            self.stdout.write(text)
            self.stderr.write("It is not shown again. Within 5 s it works everywhere.")

    def _list(self, options: dict[str, Any]) -> None:
        now = utc_now()
        found = [
            token
            for token in ApiToken.objects.all()
            if options["all"] or token.state_at(now) == "live"
        ]
        if options["json"]:
            self.print_json([_described(token) for token in found])
        elif not found:
            self.stdout.write("No tokens.")
        else:
            self.stdout.write(table([_HEADING, *map(_row, found)]))

    def _revoke(self, options: dict[str, Any]) -> None:
        token = tokens.find(options["id"])
        is_changed = tokens.revoke(token, actor=host_user(), now=utc_now())
        token.refresh_from_db()
        if options["json"]:
            self.print_json(_described(token))
        else:
            said = "revoked; within 5 s it works nowhere" if is_changed else "revoked before"
            self.stdout.write(f"{token}: {said}")


def _described(token: ApiToken) -> dict[str, Any]:
    instants = {
        name: at and at.isoformat()
        for name in ("created_at", "expires_at", "last_used_at", "revoked_at")
        for at in (getattr(token, name),)
    }
    return {
        "id": token.public_id,
        "name": token.name,
        "scopes": token.scopes,
        "state": token.state_at(utc_now()),
        "created_by": token.created_by,
        **instants,
    }


def _row(token: ApiToken) -> tuple[str, ...]:
    now = utc_now()
    return (
        token.public_id,
        token.name,
        token.state_at(now),
        instant_text(token.expires_at, now) if token.expires_at else "never",
        instant_text(token.last_used_at, now) if token.last_used_at else "never",
        " ".join(token.scopes),
    )
