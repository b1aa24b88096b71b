"""Turn measurements into a table and a plot."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from server import Shape
from systems import SYSTEMS
from workloads import WORKLOADS

Measurement = dict[str, Any]


def markdown(results: dict[str, Any]) -> str:
    """Return a table of times and one of traffic."""
    measurements = results["measurements"]
    workloads = unique(m["workload"] for m in measurements)
    systems = unique(m["system"] for m in measurements)
    cells = {(m["workload"], m["system"]): m for m in measurements}
    parts = [
        f"# Benchmark of {results['date']}, network: {results['network']}",
        setting(results),
        "## Seconds, first run (second run, same mount)",
        table(workloads, systems, cells, seconds_cell),
        "## Seconds (GETs) after a remount, with what is kept on disk and the page cache dropped",
        table(workloads, systems, cells, remount_cell),
        "## GETs + metadata requests / MB, first run",
        table(workloads, systems, cells, traffic_cell),
        "## Rounds (requests that came after the answer to one before them), first run",
        table(workloads, systems, cells, rounds_cell),
        "## Bytes fetched / bytes that the result needs, first run",
        table(workloads, systems, cells, excess_cell),
    ]
    return "\n\n".join(parts) + "\n"


def setting(results: dict[str, Any]) -> str:
    """Say under which conditions the figures were measured."""
    shape = results["shape"]
    network = str(Shape(**shape)) if shape else "an external server"
    machine = results["machine"]
    return (
        f"{network}; {machine['cpus']} CPUs, Linux {machine['kernel']}; median of {results['repeat']} "
        f"runs, each on a fresh mount with an empty cache and in a fresh process."
    )


def table(workloads: list[str], systems: list[str], cells: dict[tuple[str, str], Measurement], cell: Any) -> str:
    """Return a Markdown table, one row per workload."""
    lines = ["| workload | " + " | ".join(SYSTEMS[system].title for system in systems) + " |"]
    lines.append("|---|" + "---:|" * len(systems))
    for name in workloads:
        row = [cell(cells[name, system]) if (name, system) in cells else "" for system in systems]
        lines.append(f"| {WORKLOADS[name].title} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def seconds_cell(measurement: Measurement) -> str:
    """Return cold and warm seconds."""
    if "cold" not in measurement:
        return measurement["problem"]
    warm = measurement.get("warm")
    suffix = f" ({warm['seconds']:.3f})" if warm else ""
    wrong = "" if measurement["agrees"] else " **wrong**"
    return f"{measurement['cold']['seconds']:.3f}{suffix}{wrong}"


def remount_cell(measurement: Measurement) -> str:
    """Return the seconds after a remount; those of local disk are its first ones, with the page cache dropped."""
    run = measurement.get("cold") if measurement["system"] == "local" else measurement.get("remount")
    if not run:
        return ""
    gets = f" ({run['traffic']['gets']})" if run["traffic"] and measurement["system"] != "local" else ""
    return f"{run['seconds']:.3f}{gets}"


def traffic_cell(measurement: Measurement) -> str:
    """Return requests and bytes."""
    traffic = measurement.get("cold", {}).get("traffic")
    if not traffic:
        return ""
    return f"{traffic['gets']} + {traffic['metadata']} / {traffic['bytes'] / 1e6:.2f}"


def rounds_cell(measurement: Measurement) -> str:
    """Return how often the latency of the network was waited for."""
    traffic = measurement.get("cold", {}).get("traffic")
    return str(traffic["rounds"]) if traffic else ""


def excess_cell(measurement: Measurement) -> str:
    """Return how many times the bytes that it needs were fetched."""
    traffic = measurement.get("cold", {}).get("traffic")
    if not traffic or not traffic["bytes"]:
        return ""
    times = traffic["bytes"] / measurement["needed"]
    return f"{times:,.0f}" if times >= 10 else f"{times:.1f}"


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw times on a logarithmic axis, one group of bars per workload."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [m for m in results["measurements"] if "cold" in m]
    workloads = unique(m["workload"] for m in measured)
    systems = unique(m["system"] for m in measured)
    height = 0.8 / max(1, len(systems))
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.2 * len(workloads) * max(3, len(systems))), layout="constrained")
    for number, system in enumerate(systems):
        mine = [m for m in measured if m["system"] == system]
        places = [workloads.index(m["workload"]) + (number - (len(systems) - 1) / 2) * height for m in mine]
        axes.barh(places, [m["cold"]["seconds"] for m in mine], height, label=SYSTEMS[system].title)
    axes.set_yticks(range(len(workloads)), [WORKLOADS[name].title for name in workloads])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(f"seconds, first run on a fresh mount (network: {results['network']})")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=4)
    figure.savefig(path, metadata={"Date": None})


def unique(values: Iterable[str]) -> list[str]:
    """Return values in the order of their first appearance."""
    return list(dict.fromkeys(values))
