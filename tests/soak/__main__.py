"""Soak an installation: mixed traffic, faults in turn, and a balance: ``python -m tests.soak``.

Everything it needs is its own: folder, database, broker, processes. The report is printed, and
kept with the picture, the record of faults, the notebooks of the senders and all logs in a folder
that is named. Ends with 1 if a promise was broken. Ctrl-C ends the traffic, and is reported as any
other end; a second one does not wait until everything has come to rest.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from gateway_app.process import stopped_by_signals
from tests.soak import report
from tests.soak.evidence import gather
from tests.soak.faults import FLOOD, Fault, catalogue
from tests.soak.growth import file_trends, memory_trends
from tests.soak.names import CLOCK_JUMPS
from tests.soak.observing import Observer
from tests.soak.plot import picture
from tests.soak.resting import come_to_rest
from tests.soak.turns import Turns
from tests.soak.verdict import Check, judge
from tests.soak.world import TRAFFIC, World
from tests.support.brokers import BROKERS
from tests.support.installation import ROOT

_CALM_SECONDS: Final = 6.0
#: For a send that waits for the database, and for what is not confirmed yet.
_SENDER_SECONDS: Final = 60.0
_REST_SECONDS: Final = 300.0


def main() -> int:
    """Do what the command line says."""
    options = _options()
    folder = options.folder or ROOT / f"var/soak/{options.broker}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True)
    print(
        f"soaking {options.broker} for {options.minutes:g} minutes; report: {folder}", flush=True
    )
    with stopped_by_signals():
        is_good = _soak(options, folder)
    print(f"\n{'all kept' if is_good else 'NOT all kept'}; report: {folder}")
    return int(not is_good)


def _soak(options: argparse.Namespace, folder: Path) -> bool:
    broken: list[str] = []
    has_clocks = not options.faults or not set(CLOCK_JUMPS).isdisjoint(options.faults)
    with World(options.broker, folder, options.minutes, has_clocks=has_clocks) as world:
        faults, left_out = _possible(world, catalogue(options.flood), options.faults)
        observer, turns = Observer(world), Turns(world, faults, options.calm)
        world.begin_traffic(options.rate)
        observer.start()
        try:
            turns.play(options.minutes * 60)
        except KeyboardInterrupt:
            print("asked to stop", flush=True)
        except Exception as exc:  # a fault that cannot be ended is a result as well
            broken.append(f"{type(exc).__name__}: {exc}")
        observer.stop()
        code = _end_traffic(world)
        rest = come_to_rest(world, _REST_SECONDS)
        print(rest, flush=True)
        evidence = gather(world, turns.spans, code)
        trends = [*memory_trends(observer.samples), *file_trends(observer.samples)]
        checks = [
            Check("every fault began and ended", not broken, f"{len(turns.spans)} faults", broken),
            *judge(evidence, trends),
        ]
        is_good = all(check.is_kept for check in checks)
        if not is_good:
            world.supervisor.stop()
            shutil.copytree(world.var_dir, folder / "var", ignore=_no_sockets)
    print(report.as_text(checks, trends, evidence, left_out))
    found = report.as_json(checks, trends, evidence, left_out)
    found |= {"minutes": options.minutes, "rate": options.rate, "rest": rest}
    (folder / "soak-report.json").write_text(json.dumps(found, indent=1))
    title = f"{options.broker}, {options.minutes:g} minutes, {len(turns.spans)} faults"
    (folder / "soak.svg").write_text(picture(title, observer.samples, turns.spans))
    return is_good


def _end_traffic(world: World) -> int:
    try:
        return world.supervisor.let_end(TRAFFIC, _SENDER_SECONDS)
    except subprocess.TimeoutExpired:
        return -1  # it hangs in a send; stopped with all others


def _possible(
    world: World, faults: tuple[Fault, ...], wanted: tuple[str, ...]
) -> tuple[list[Fault], dict[str, str]]:
    """Return the faults that can happen, and why the others cannot."""
    left_out = {}
    possible = []
    for fault in faults:
        if wanted and fault.name not in wanted:
            left_out[fault.name] = "not asked for"
        elif obstacle := fault.obstacle(world):
            left_out[fault.name] = obstacle
        else:
            possible.append(fault)
    return possible, left_out


def _no_sockets(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if (Path(folder) / name).is_socket()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of traffic and faults (10)")
    parser.add_argument("--broker", choices=sorted(BROKERS), default="sqlite")
    parser.add_argument("--rate", type=float, default=10.0, help="messages a second (10)")
    parser.add_argument("--flood", type=int, default=FLOOD, help=f"LOW messages of one ({FLOOD})")
    parser.add_argument(
        "--calm", type=float, default=_CALM_SECONDS, help=f"seconds between two ({_CALM_SECONDS})"
    )
    names = [fault.name for fault in catalogue()]
    parser.add_argument(
        "--faults",
        type=lambda text: tuple(text.split(",")),
        default=(),
        help=f"only these, by commas: {', '.join(names)}",
    )
    parser.add_argument("--folder", type=Path, help="for the report, new (var/soak/…)")
    options = parser.parse_args()
    for name in options.faults:
        if name not in names:
            parser.error(f"{name!r} is none of {', '.join(names)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
