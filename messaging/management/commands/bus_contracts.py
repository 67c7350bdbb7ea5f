"""``manage.py bus_contracts``: holds a service's contract against those that run."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandParser

from messaging.commands import OneLineCommand, OneLineParser
from messaging.contracts.checking import Finding, Grade, check
from messaging.contracts.contract import Contract
from messaging.contracts.differences import differences
from messaging.contracts.sources import contract_of, contracts_in_file, contracts_of_gateway

BROKEN: Final = 1
_WHAT: Final = "a module with the communicator, as services.user, or a file written by export"


class Command(OneLineCommand):
    """Checks, compares and writes the contract of a service."""

    help = "Hold what a service accepts and sends against the services that run."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what is done, of which service, and where it is known what runs."""
        verbs = parser.add_subparsers(dest="verb", required=True, parser_class=OneLineParser)
        checked = verbs.add_parser("check", help="exit 1 if it would break what runs")
        compared = verbs.add_parser("diff", help="show what is different from what runs")
        exported = verbs.add_parser("export", help="write it as JSON, to be committed")
        for each in (checked, compared, exported):
            each.add_argument("contract", metavar="CONTRACT", help=_WHAT)
        for each in (checked, compared):
            where = each.add_mutually_exclusive_group(required=self.needs_source)
            where.add_argument("--gateway", metavar="URL", help="ask this gateway what runs")
            where.add_argument("--against", metavar="FILE", help="a file says what runs")
            token = each.add_mutually_exclusive_group()
            token.add_argument("--token", help="API token with the scope /ops/contracts.json")
            token.add_argument("--token-file", metavar="FILE", help="the first line of a file is")
            each.add_argument("--json", action="store_true", help="print only JSON")
        checked.add_argument(
            "--pass-unknown",
            action="store_true",
            help="exit 0 also where it cannot be told whether something breaks",
        )
        exported.add_argument("--output", "-o", metavar="FILE", help="instead of stdout")

    @property
    def needs_source(self) -> bool:
        """Whether somebody has to say where it is known what runs."""
        return True

    def run(self, options: dict[str, Any]) -> None:
        """Check, compare or write."""
        {"check": self._check, "diff": self._diff, "export": self._export}[options["verb"]](
            options
        )

    def running(self, options: dict[str, Any]) -> Sequence[Contract]:
        """Return the contracts of what runs.

        Raises:
            ValueError, MessagingError: they cannot be had from where the options say.
        """
        if options["against"]:
            return contracts_in_file(options["against"])
        return contracts_of_gateway(options["gateway"], _token(options))

    def _check(self, options: dict[str, Any]) -> None:
        new = contract_of(options["contract"])
        running = self.running(options)
        findings = check(new, running)
        grades = {finding.grade for finding in findings}
        is_broken = Grade.BREAKS in grades or (
            Grade.UNKNOWN in grades and not options["pass_unknown"]
        )
        if options["json"]:
            self.print_json(
                {
                    "compatible": not is_broken,
                    "service": new.service,
                    "version": new.version,
                    "running": [str(each) for each in running],
                    "findings": [finding.to_json() for finding in findings],
                }
            )
        else:
            self._print_findings(new, running, findings)
        if is_broken:
            sys.exit(BROKEN)

    def _print_findings(
        self, new: Contract, running: Sequence[Contract], findings: Sequence[Finding]
    ) -> None:
        for finding in findings:
            self.stdout.write(finding.line())
        counted = [
            f"{sum(finding.grade is grade for finding in findings)} {word}"
            for grade, word in ((Grade.BREAKS, "would break"), (Grade.UNKNOWN, "cannot be told"))
        ]
        self.stdout.write(f"{new}, against {len(running)} running: {', '.join(counted)}.")

    def _diff(self, options: dict[str, Any]) -> None:
        new = contract_of(options["contract"])
        own = [each for each in self.running(options) if each.service == new.service]
        nothing = Contract(service=new.service, version="")
        compared = [(old, differences(old, new)) for old in own or [nothing]]
        if options["json"]:
            self.print_json(
                [
                    {
                        "service": new.service,
                        "old": old.version,
                        "new": new.version,
                        "differences": [each.to_json() for each in found],
                    }
                    for old, found in compared
                ]
            )
            return
        for old, found in compared:
            against = f"from {old.version}" if own else "nothing of it runs"
            self.stdout.write(f"{new}, {against}: {len(found)} differences")
            for each in found:
                self.stdout.write(f"  {each.line()}")

    def _export(self, options: dict[str, Any]) -> None:
        text = contract_of(options["contract"]).to_text()
        if not options["output"]:
            self.stdout.write(text, ending="")
            return
        try:
            Path(options["output"]).write_text(text)
        except OSError as exc:
            raise ValueError(f"--output: cannot be written: {exc}") from exc


def _token(options: dict[str, Any]) -> str | None:
    if not options["token_file"]:
        return options["token"]
    try:
        return Path(options["token_file"]).read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"--token-file: cannot be read: {exc}") from exc
