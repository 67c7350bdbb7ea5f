"""``manage.py run_stack``: the whole system on this host, until Ctrl-C."""

import os
import secrets
from argparse import BooleanOptionalAction
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from gateway_app.log_follower import LogFollower
from gateway_app.preconditions import free_port, is_port_taken, only_one, require_broker
from gateway_app.process import child_environment, stopped_by_signals
from gateway_app.procfile import ProcfileEntry, read_procfile
from gateway_app.registry.snapshot import view
from gateway_app.stack import Instance, Stack, StackError
from messaging import ServiceCommunicator
from messaging.brokers import shown
from messaging.clock import SYSTEM_CLOCK
from messaging.commands import OneLineArguments

ADMIN_NAME: Final = "admin"
#: Its process, and who may look at it.
FLOWER: Final = "flower"
#: Ports that nobody has to choose.
_USUAL: Final = {"GATEWAY_PORT": 8000, "FLOWER_PORT": 5555}
#: Pause between looks at logs and processes: a person does not see it.
LOOK_SECONDS: Final = 0.2


class Command(OneLineArguments):
    """Starts gateway, beat, Flower and the services, and stops them all on Ctrl-C."""

    help = "Run gateway, beat, Flower and all services on this host until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add whether processes are started again when their files change."""
        parser.add_argument(
            "--reload",
            action=BooleanOptionalAction,
            default=settings.DEBUG,
            help="start a process again when its source files change (default: DJANGO_DEBUG)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until Ctrl-C (exit 0) or until a process dies (exit 1)."""
        procfile = settings.BASE_DIR / "Procfile"
        if not procfile.is_file():
            raise CommandError(
                f"expected the list of processes in {procfile}, and there is none; "
                "run this in a clone of the repository, or see docs/adoption.md"
            )
        try:
            with stopped_by_signals(), only_one(settings.VAR_DIR) as lock:
                self._run(lock, reload=options["reload"])
        except StackError as exc:
            raise CommandError(str(exc)) from exc
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")

    def _run(self, lock: int, *, reload: bool) -> None:
        communicator = ServiceCommunicator("run-stack")
        entries = read_procfile(settings.BASE_DIR / "Procfile")
        _require_ports(entries)
        require_broker(communicator.bus)
        call_command("migrate", verbosity=0, interactive=False)
        password = ensure_admin(settings.VAR_DIR)
        try:
            with _make_stack(entries, lock) as stack:
                first = [name for name in stack.processes if name != FLOWER]
                stack.start(*first)
                self.stdout.write(f"Starting {', '.join(stack.processes)} …")
                stack.wait_until_ready()
                if FLOWER in stack.processes:
                    # It asks the workers once, and warns of each question that none answers.
                    stack.start(FLOWER)
                pause = self._reloading(stack) if reload else _pause
                self._introduce(stack, communicator, password)
                self._watch(stack, pause)
        finally:
            communicator.close()

    def _introduce(
        self, stack: Stack, communicator: ServiceCommunicator, password: str | None
    ) -> None:
        login = f"{ADMIN_NAME}, {f'password {password}' if password else 'password as you set it'}"
        rows = {
            "Gateway": f"{stack.gateway_url}/",
            "Operator pages": f"{stack.gateway_url}/ops/  ({login})",
            "Admin": f"{stack.gateway_url}/admin/  (the same login)",
            **_flower_row(stack),
            "Broker": shown(communicator.bus.config.broker_url),
            "Logs": str(settings.VAR_DIR / "log"),
        }
        width = max(map(len, rows))
        lines = (f"{self.style.SUCCESS(name.ljust(width))}  {text}" for name, text in rows.items())
        self.stdout.write("\n".join(("", *lines, "", "Everything runs. Ctrl-C stops it.", "")))

    def _reloading(self, stack: Stack) -> Callable[[], None]:
        """Return what restarts the processes whose files change."""
        from gateway_app.reloading import Reloading

        root = Path(settings.BASE_DIR)
        return Reloading(stack, root, self.stdout.write, LOOK_SECONDS).look

    def _watch(self, stack: Stack, pause: Callable[[], None]) -> None:
        """Show what the processes write, until one dies."""
        follower = LogFollower({p.name: p.log_file for p in stack.processes.values()})
        while True:
            for line in follower.new_lines():
                self.stdout.write(line)
            pause()
            stack.check()


def _pause() -> None:
    SYSTEM_CLOCK.sleep(LOOK_SECONDS)


def _registered(service: str) -> list[Instance]:
    """Return a service's instances, from the database that this process has as well.

    Asked over the bus, who has not registered yet would show as requests that fail.
    """
    shown = view(service, with_offers=False).services
    return [
        Instance(each.state_of(instance), instance.last_seen_at)
        for each in shown
        for instance in each.instances
    ]


def _make_stack(entries: Sequence[ProcfileEntry], lock: int) -> Stack:
    return Stack(
        entries,
        directory=settings.BASE_DIR,
        log_dir=settings.VAR_DIR / "log",
        environment=child_environment(
            GATEWAY_PORT=str(settings.GATEWAY_PORT),
            FLOWER_PORT=str(settings.FLOWER_PORT),
            FLOWER_BASIC_AUTH=settings.FLOWER_BASIC_AUTH
            or f"{FLOWER}:{ensure_password(_flower_file())}",
        ),
        instances=_registered,
        gateway_url=f"http://127.0.0.1:{settings.GATEWAY_PORT}",
        lock=lock,
    )


def ensure_admin(var_dir: Path) -> str | None:
    """Make the admin user on the first run, with a random password in a file of mode 0600.

    Returns:
        The password from that file; None where an admin of that name was made by other means.
    """
    users = get_user_model().objects
    file = var_dir / "admin-password"
    if not users.filter(username=ADMIN_NAME).exists():
        users.create_superuser(ADMIN_NAME, password=ensure_password(file))
    return file.read_text() if file.exists() else None


def ensure_password(file: Path) -> str:
    """Return the password in a file, made at random and with mode 0600 where there is none."""
    if not file.exists():
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as secret:
            secret.write(secrets.token_urlsafe(12))
    return file.read_text()


def _flower_file() -> Path:
    return Path(settings.VAR_DIR) / "flower-password"


def _flower_row(stack: Stack) -> dict[str, str]:
    if FLOWER not in stack.processes:
        return {}
    return {"Flower": f"http://127.0.0.1:{settings.FLOWER_PORT}/  ({_flower_login()})"}


def _flower_login() -> str:
    if settings.FLOWER_BASIC_AUTH:
        return "login as FLOWER_BASIC_AUTH says"
    return f"{FLOWER}, password {ensure_password(_flower_file())}"


def _require_ports(entries: Sequence[ProcfileEntry]) -> None:
    """Refuse ports that are taken, with a line that chooses others and keeps what was chosen.

    Raises:
        StackError: one is.
    """
    has_flower = any(entry.name == FLOWER for entry in entries)
    wanted = _USUAL if has_flower else ("GATEWAY_PORT",)
    ports = {setting: getattr(settings, setting) for setting in wanted}
    taken = [setting for setting, port in ports.items() if is_port_taken(port)]
    if not taken:
        return
    chosen = [
        f"{setting}={free_port() if setting in taken else port}"
        for setting, port in ports.items()
        if setting in taken or port != _USUAL[setting]
    ]
    numbers = " and ".join(str(ports[setting]) for setting in taken)
    said = f"port {numbers} is" if len(taken) == 1 else f"ports {numbers} are"
    raise StackError(f"{said} taken; choose another: {' '.join(chosen)} make run")
