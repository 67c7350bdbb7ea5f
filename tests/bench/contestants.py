"""Who is measured: the bus on its brokers, and Celery at its defaults."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PEERS: Final = Path(__file__).parent / "peers"


@dataclass(frozen=True, slots=True)
class Contestant:
    """One message system on one broker."""

    name: str
    #: The program in ``peers/`` that speaks for it.
    program: str
    #: What the program is told to be.
    flavour: str
    #: The server it needs: ``amqp``, ``redis``, or empty.
    server: str = ""

    @property
    def command(self) -> tuple[str, ...]:
        """How the program is started; see `peers.protocol`."""
        return sys.executable, str(_PEERS / self.program), self.flavour

    @property
    def is_bus(self) -> bool:
        """Whether it is ours."""
        return self.program == "bus.py"


#: What the others are compared with, where a section does not say otherwise.
BASELINE: Final = "celery-rmq"

BUS: Final = (
    Contestant("bus-sqlite", "bus.py", "sqlite"),
    Contestant("bus-amqp", "bus.py", "amqp", "amqp"),
    Contestant("bus-redis", "bus.py", "redis", "redis"),
)
CELERY: Final = (
    Contestant(BASELINE, "raw_celery.py", "rmq", "amqp"),
    Contestant("celery-redis", "raw_celery.py", "redis", "redis"),
    Contestant("celery-sqla", "raw_celery.py", "sqla"),
)
#: Only for what a worker needs: the bus has Django loaded as well.
CELERY_WITH_DJANGO: Final = Contestant("celery-django", "raw_celery.py", "django", "amqp")
#: In the order of the table.
ALL: Final = (*BUS, *CELERY, CELERY_WITH_DJANGO)
