"""What sender, services and verdict have to agree on."""

from typing import Final

#: One that does as it should, one that fails now and then, one that takes its time.
STEADY: Final = "steady"
SHAKY: Final = "shaky"
SLOW: Final = "slow"
SERVICES: Final = (STEADY, SHAKY, SLOW)
WORKERS_EACH: Final = 2

#: Faults that put clocks ahead, and by how much.
CLOCK_JUMP: Final = "clock jump"
CLOCK_JUMP_OF_ALL: Final = "clock jump of all"
CLOCK_JUMPS: Final = (CLOCK_JUMP, CLOCK_JUMP_OF_ALL)
JUMP_SECONDS: Final = 3600

#: Commands. The effect of the first is in one transaction with the record that it is handled.
ONCE: Final = "soak.once"
PLAIN: Final = "soak.plain"
ECHO: Final = "soak.echo"
#: Events, for all three services: CRITICAL, and not.
HAPPENED: Final = "happened.once"
TOLD: Final = "happened.plain"


def effects_table(service: str) -> str:
    """Return the table in which a service leaves its effects."""
    return f"soak_effect_{service}"
