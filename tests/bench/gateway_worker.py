"""A worker of the gateway, as the Procfile starts it, and what is asked of it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final, TypeVar

from messaging.clock import SYSTEM_CLOCK
from tests.bench.measurement import READY_SECONDS, Failed, Measurement
from tests.support.installation import ROOT
from tests.support.processes import BIN, Process

T = TypeVar("T")

GATEWAY: Final = "api-gateway"


def begin(run: Measurement) -> Process:
    """Start one."""
    return run.run(
        str(BIN / "celery"), "-A", "gateway_app", "worker", "-l", "ERROR", **environment(run)
    )


def start(run: Measurement) -> Process:
    """Start one; return it once it is registered."""
    process = begin(run)
    query = "SELECT 1 FROM gateway_app_service WHERE name = ?"
    eventually(process, lambda: read(run, query, GATEWAY))
    return process


def command(run: Measurement, message_type: str) -> None:
    """Send it what beat sends.

    Raises:
        Failed: it was not sent.
    """
    manage = (str(BIN / "python"), str(ROOT / "manage.py"))
    sending = run.run(*manage, "bus_send", GATEWAY, message_type, **environment(run))
    if sending.wait(READY_SECONDS):
        raise Failed(f"{message_type} could not be sent: {sending.log.read_text()[-400:]}")


def environment(run: Measurement) -> dict[str, str]:
    """Return what its environment has more than that of others."""
    return {
        "BROKER_URL": run.broker_url,
        "VAR_DIR": str(run.folder),
        "MESSAGING_NAMESPACE": run.namespace,
        "DJANGO_SETTINGS_MODULE": "gateway_app.settings",
        # As in production, and as the other processes here.
        "DJANGO_DEBUG": "0",
        "DJANGO_TLS": "0",
        "DJANGO_SECRET_KEY": "of a benchmark",
        # Clients without tokens, and instances on this host.
        "MESSAGING_HTTP_AUTH": "none",
        "MESSAGING_UPSTREAM_NETWORKS": "127.0.0.0/8, ::1",
        "C_FORCE_ROOT": "1",
    }


def read(run: Measurement, query: str, *parameters: str) -> Any:
    """Return one row of the database; None where there is none."""
    with closing(sqlite3.connect(run.database, timeout=30)) as db:
        return db.execute(query, parameters).fetchone()


def eventually(process: Process | None, look: Callable[[], T | None]) -> T:
    """Return the first answer that is one.

    Raises:
        Failed: none came in time, or the process ended.
    """
    ends_at = SYSTEM_CLOCK.monotonic() + READY_SECONDS
    while not (answer := look()):
        is_over = process is not None and not process.is_running()
        if is_over or SYSTEM_CLOCK.monotonic() > ends_at:
            raise Failed(process.log.read_text()[-400:] if process else "it did not happen")
        SYSTEM_CLOCK.sleep(0.02)
    return answer
