"""The layers in their order, each looked at in bounded time, and not where what it needs fails."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from gateway_app import traps
from gateway_app.doctor import (
    broker,
    bus,
    database,
    files,
    gateway,
    queues,
    registry,
    relay,
    settings,
    tokens,
)
from gateway_app.doctor.finding import Finding, Grade, LayerBroken, trapped
from messaging.database_threads import close_database

logger = logging.getLogger(__name__)

#: A layer that takes longer is given up: several timeouts of a broker, and of SQLite's lock.
LAYER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the installation."""

    name: str
    look: Callable[[], Iterator[Finding]]
    #: Layers without which there is nothing to see.
    needs: tuple[str, ...] = ()


LAYERS: Final = (
    Layer("settings", settings.look),
    Layer("files", files.look),
    Layer("database", database.look),
    Layer("broker", broker.look),
    Layer("registry", registry.look, needs=("database",)),
    Layer("queues", queues.look, needs=("database", "broker")),
    Layer("bus", bus.look, needs=("broker", "registry")),
    Layer("relay", relay.look, needs=("database",)),
    Layer("gateway", gateway.look),
    Layer("tokens", tokens.look, needs=("database",)),
)


def examine(layers: tuple[Layer, ...] = LAYERS) -> list[Finding]:
    """Return the outcome of every check; one that fails keeps away only what needs it."""
    found: list[Finding] = []
    broken: set[str] = set()
    for layer in layers:
        missing = [name for name in layer.needs if name in broken]
        if missing:
            broken.add(layer.name)
            text = f"needs the {' and the '.join(missing)}"
            findings = [Finding(layer.name.capitalize(), Grade.NOT_LOOKED_AT, text)]
        else:
            findings, is_broken = _in_time(layer)
            if is_broken:
                broken.add(layer.name)
        found += [replace(finding, layer=layer.name) for finding in findings]
    return found


def _in_time(layer: Layer) -> tuple[list[Finding], bool]:
    """Look at a layer on a thread that is left behind when it takes too long."""
    outcome: queue.Queue[tuple[list[Finding], bool]] = queue.Queue()
    looking = threading.Thread(
        target=lambda: outcome.put(_look(layer)), name=f"doctor-{layer.name}", daemon=True
    )
    looking.start()
    try:
        return outcome.get(timeout=LAYER_SECONDS)
    except queue.Empty:
        text = f"no outcome within {LAYER_SECONDS:g} s"
        return [trapped(layer.name.capitalize(), traps.CHECK_TOOK_TOO_LONG, text)], True


def _look(layer: Layer) -> tuple[list[Finding], bool]:
    found: list[Finding] = []
    try:
        for finding in layer.look():
            found.append(finding)  # one by one: what was found before an error is kept
    except LayerBroken as exc:
        return [*found, exc.finding], True
    except Exception as exc:
        # Whatever it is: the other layers are to be looked at, and this one is not well.
        logger.debug("the doctor's look at the layer %s", layer.name, exc_info=True)
        text = f"{type(exc).__name__}: {exc}"
        return [*found, trapped(layer.name.capitalize(), traps.CHECK_FAILED, text)], True
    finally:
        close_database()
    return found, False
