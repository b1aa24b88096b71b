"""Measure systems x workloads. `bench/run` prepares what this program needs, then calls it."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from report import markdown, plot
from server import NETWORKS, SETTLE_SECONDS, Server, lab
from systems import SYSTEMS, Context, System, environment, remember
from workloads import WORKLOADS

HERE = Path(__file__).resolve().parent
TIMEOUT = 600
# What takes longer is not repeated: its spread does not matter any more.
PATIENCE_SECONDS = 30


def main() -> int:
    """Measure what the command line asks for."""
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    agreed = True
    for network in networks(options):
        results = describe(network, options, measure_all(network, options))
        write(results, options.results)
        print(json.dumps(results, indent=1) if options.json else markdown(results), flush=True)
        agreed &= all(m.get("agrees", True) for m in results["measurements"])
    return 0 if agreed else 1


def measure_all(network: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all workloads on all systems over one network."""
    measurements = []
    with ExitStack() as stack:
        context = prepare(network, options, stack)
        for workload in options.only or WORKLOADS:
            for system in options.systems or SYSTEMS:
                measurements.append(measure(SYSTEMS[system], workload, context, options))
                print(progress(network, measurements[-1]), file=sys.stderr, flush=True)
    judge(measurements)
    return measurements


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench/run", description="Measure fitsfs and its peers on the same work.")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, metavar="SYSTEM", help=", ".join(SYSTEMS))
    choices = [*NETWORKS, "both"]
    parser.add_argument("--network", choices=choices, default="region", help=f"{', '.join(choices)} (default: region)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="take the median of N runs (default: 3)")
    parser.add_argument("--json", action="store_true", help="print JSON, a document for each network, not tables")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="DIR")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--bucket", default="stpubdata", help=argparse.SUPPRESS)
    parser.add_argument("--fitsfs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--lab", default="", help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", metavar="URL", help="measure against this S3 server, which has the same files")
    return parser.parse_args()


def networks(options: argparse.Namespace) -> list[str]:
    """Return the networks to measure over; that to a server of others is what it is."""
    if options.endpoint:
        return ["external"]
    return list(NETWORKS) if options.network == "both" else [options.network]


def prepare(network: str, options: argparse.Namespace, stack: ExitStack) -> Context:
    """Start the server."""
    if options.endpoint:
        server = Server(options.endpoint, options.bucket)
    else:
        server = stack.enter_context(lab(options.lab, options.data, options.bucket, NETWORKS[network], options.work))
    return Context(server, options.data, options.work, options.fitsfs, environment())


def measure(system: System, workload: str, context: Context, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one workload on one system: `repeat` times on a fresh mount, each time again on the used one."""
    work = WORKLOADS[workload]
    measurement: dict[str, Any] = {"workload": workload, "system": system.name, "needed": work.needed}
    if problem := system.missing(context) or system.refused(context, work.files):
        return measurement | {"problem": problem}
    try:
        runs = measure_repeatedly(system, workload, context, options.repeat)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return measurement | {"problem": "failed", "error": str(error)}
    if problem := runs[0][0].get("not_applicable"):
        return measurement | {"problem": problem}
    names = ("cold", "warm", "remount")
    return measurement | {name: median(run[n] for run in runs) for n, name in enumerate(names) if n < len(runs[0])}


def measure_repeatedly(system: System, workload: str, context: Context, repeat: int) -> list[list[dict[str, Any]]]:
    """Measure until there are enough runs, or so slow ones that more would tell nothing new."""
    started = time.monotonic()
    runs = []
    while len(runs) < repeat and time.monotonic() < started + PATIENCE_SECONDS:
        runs.append(measure_once(system, workload, context))
    return runs


def measure_once(system: System, workload: str, context: Context) -> list[dict[str, Any]]:
    """Measure a first and a second process on a fresh mount, and one after a remount with what is kept on disk."""
    names = WORKLOADS[workload].files
    for name in names:
        remember(context.bucket / name)
    with system.started(context, names) as session:
        runs = [probe(workload, session.options, context), probe(workload, session.options, context)]
        if session.restart and "not_applicable" not in runs[0]:
            session.restart()
            runs.append(probe(workload, session.options, context))
        return runs


def probe(workload: str, place: list[str], context: Context) -> dict[str, Any]:
    """Run the workload in a fresh process and ask the server what it saw."""
    context.server.clear()
    log = ["--log", context.server.endpoint] if context.server.shape else []
    done = subprocess.run(
        [sys.executable, HERE / "probe.py", workload, *place, *log],
        capture_output=True,
        text=True,
        env=context.environment,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"died: {done.returncode}")
    time.sleep(SETTLE_SECONDS)
    traffic = context.server.traffic()
    return json.loads(done.stdout) | {"traffic": traffic and asdict(traffic)}


def median(runs: Any) -> dict[str, Any]:
    """Return the run with the median time, and all times."""
    ordered = sorted(runs, key=lambda run: run["seconds"])
    digests = {run["digest"] for run in ordered}
    middle = ordered[(len(ordered) - 1) // 2]
    times = [round(run["seconds"], 6) for run in ordered]
    digest = digests.pop() if len(digests) == 1 else "varies"
    return {**middle, "seconds": statistics.median(times), "all_seconds": times, "digest": digest}


def judge(measurements: list[dict[str, Any]]) -> None:
    """Mark the results that differ from what the other systems found; local disk is right."""
    for workload in {m["workload"] for m in measurements}:
        measured = [m for m in measurements if m["workload"] == workload and "cold" in m]
        votes = Counter(m["cold"]["digest"] for m in measured)
        right = next((m["cold"]["digest"] for m in measured if m["system"] == "local"), None)
        right = right or (votes.most_common(1)[0][0] if votes else None)
        for m in measured:
            m["agrees"] = all(m[run]["digest"] == right for run in ("cold", "warm", "remount") if run in m)


def progress(network: str, measurement: dict[str, Any]) -> str:
    """Return a line about a measurement."""
    title = f"{network:6} {measurement['workload']:14} {measurement['system']:10}"
    if "cold" not in measurement:
        return f"{title} {measurement['problem']} {measurement.get('error', '')}"
    cold, warm = measurement["cold"], measurement["warm"]
    traffic = cold["traffic"]
    seen = f"  {traffic['gets']} + {traffic['metadata']} requests, {traffic['bytes'] / 1e6:.2f} MB" if traffic else ""
    remount = measurement.get("remount")
    later = f", remounted {remount['seconds']:8.3f} s, {remount['traffic']['gets']} GETs" if remount and traffic else ""
    return f"{title} {cold['seconds']:8.3f} s, again {warm['seconds']:8.3f} s{later}{seen}"


def describe(network: str, options: argparse.Namespace, measurements: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the measurements with the conditions they were made under."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H-%M-%S"),
        "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "network": network,
        "shape": asdict(NETWORKS[network]) if network in NETWORKS else None,
        "repeat": options.repeat,
        "measurements": measurements,
    }


def write(results: dict[str, Any], folder: Path) -> None:
    """Write the figures, a table and a plot."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{results['date']}-{results['network']}"
    stem.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(results))
    if any("cold" in m for m in results["measurements"]):
        plot(results, stem.with_suffix(".svg"))


if __name__ == "__main__":
    sys.exit(main())
