"""Measure random cases on fitsfs and on every peer that is there. `bench/run random` calls this program.

Each case is drawn from a seed and its number, and measured on a fresh mount with an empty cache of one system after the
other; what it reads has to be what local disk has.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from chance import draw
from chance.measure import Run, make_ready, on_disk, on_mount
from chance.report import Outcome, as_data, markdown, progress
from server import NETWORKS, lab
from systems import STORES, SYSTEMS, Context, Mount, environment, remember

HERE = Path(__file__).resolve().parent
MOUNTS = {name: system for name, system in SYSTEMS.items() if isinstance(system, Mount) and system not in STORES}


def main() -> int:
    """Measure the cases that the command line asks for."""
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    make_ready()
    with lab(options.lab, options.data, "stpubdata", NETWORKS[options.network], options.work) as server:
        context = Context(server, options.data, options.work, options.fitsfs, environment())
        systems = [MOUNTS[name] for name in options.systems or MOUNTS if not MOUNTS[name].missing(context)]
        outcomes: list[Outcome] = []
        for number in options.case or range(options.first, options.first + options.count):
            outcomes.append(measure(number, systems, context, options))
            print(progress(outcomes[-1]), file=sys.stderr, flush=True)
    conditions = describe(options, systems)
    write(outcomes, conditions, options.results)
    print(json.dumps(as_data(outcomes, conditions), indent=1) if options.json else markdown(outcomes, conditions))
    return 0 if all(outcome.good("fitsfs") for outcome in outcomes if "fitsfs" in outcome.runs) else 1


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench/run random", description="Measure random cases on all mounts.")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="what the cases are drawn from (default: 1)")
    parser.add_argument("--count", type=int, default=40, metavar="M", help="how many cases (default: 40)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first of them (default: 0)")
    parser.add_argument("--case", type=int, nargs="+", metavar="N", help="only the cases of these numbers")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="take the median of N runs (default: 1)")
    parser.add_argument("--systems", nargs="+", choices=MOUNTS, metavar="SYSTEM", help=", ".join(MOUNTS))
    parser.add_argument(
        "--network", choices=NETWORKS, default="region", help=f"{', '.join(NETWORKS)} (default: region)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not tables")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="DIR")
    for name in ("--data", "--work"):
        parser.add_argument(name, type=Path, required=True, help=argparse.SUPPRESS)
    for name in ("--fitsfs", "--lab"):
        parser.add_argument(name, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(number: int, systems: list[Mount], context: Context, options: argparse.Namespace) -> Outcome:
    """Measure one case on all systems, each time in another order."""
    case = draw(options.seed, number)
    for name in case.files:
        remember(context.bucket / name)
    right = on_disk(case, context)
    runs: dict[str, list[Run]] = {system.name: [] for system in systems}
    for _ in range(options.repeat):
        for system in random.sample(systems, len(systems)):
            runs[system.name].append(on_mount(case, system, context))
    return Outcome(number, case.family, case.title, right.digest, {name: middle(runs[name]) for name in runs})


def middle(runs: list[Run]) -> Run:
    """Return the run with the median time; one that differs from the others in its result makes the result wrong."""
    ordered = sorted(runs, key=lambda run: run.seconds)
    run = ordered[(len(ordered) - 1) // 2]
    return run if len({run.digest for run in runs}) == 1 else replace(run, digest="varies")


def describe(options: argparse.Namespace, systems: list[Mount]) -> dict[str, Any]:
    """Return the conditions of the measurements."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H-%M-%S"),
        "seed": options.seed,
        "network": options.network,
        "cpus": os.cpu_count(),
        "systems": [system.name for system in systems],
    }


def write(outcomes: list[Outcome], conditions: dict[str, Any], folder: Path) -> None:
    """Write the figures and the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{conditions['date']}-random-{conditions['seed']}-{conditions['network']}"
    stem.with_suffix(".json").write_text(json.dumps(as_data(outcomes, conditions), indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(outcomes, conditions))


if __name__ == "__main__":
    sys.exit(main())
