"""Turn the outcomes of cases into tables: ratios by family, and the cases that were lost."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from chance.measure import Run

# From here on a case is lost, and lost badly: times of a best peer.
LOST = 1.1
BADLY_LOST = 1.5
# What is no peer: the binary that is measured, and the one before a change.
OURS = ("fitsfs", "baseline")


@dataclass(frozen=True)
class Outcome:
    """A case on all systems."""

    number: int
    family: str
    title: str
    right: str
    runs: dict[str, Run]

    def good(self, system: str) -> bool:
        """Say whether a system had the right result in time."""
        return system in self.runs and bool(self.right) and self.runs[system].digest == self.right

    @property
    def best_peer(self) -> str:
        """Name the fastest of the other systems that were right; none if there is none."""
        good = [name for name in self.runs if name not in OURS and self.good(name)]
        return min(good, key=lambda name: self.runs[name].seconds, default="")

    @property
    def ratio(self) -> float | None:
        """Divide the time of fitsfs, or the most that it may take, by that of the best peer."""
        if "fitsfs" not in self.runs or not self.best_peer:
            return None
        return self.runs["fitsfs"].seconds / self.runs[self.best_peer].seconds

    @property
    def wrong(self) -> list[str]:
        """Name the systems that had another result than local disk, or failed, though there was time."""
        return [name for name, run in self.runs.items() if not self.good(name) and not run.problem.startswith("more")]


def as_data(outcomes: list[Outcome], conditions: dict[str, Any]) -> dict[str, Any]:
    """Return everything, for JSON."""
    cases = [
        {
            "case": outcome.number,
            "family": outcome.family,
            "title": outcome.title,
            "ratio": outcome.ratio,
            "best_peer": outcome.best_peer,
            "wrong": outcome.wrong,
            "runs": {name: vars(run) for name, run in outcome.runs.items()},
        }
        for outcome in outcomes
    ]
    return conditions | {"summary": summary([o.ratio for o in outcomes if o.ratio is not None]), "cases": cases}


def summary(ratios: list[float]) -> dict[str, float]:
    """Summarize ratios."""
    if not ratios:
        return {"cases": 0}
    return {
        "cases": len(ratios),
        "median": statistics.median(ratios),
        "worst": max(ratios),
        "lost": share(ratios, LOST),
        "badly_lost": share(ratios, BADLY_LOST),
    }


def share(ratios: list[float], limit: float) -> float:
    """Return the share of ratios above a limit."""
    return sum(ratio > limit for ratio in ratios) / len(ratios)


def markdown(outcomes: list[Outcome], conditions: dict[str, Any]) -> str:
    """Return the tables."""
    peers = [name for name in conditions["systems"] if name not in OURS]
    parts = [
        f"# {len(outcomes)} random cases of seed {conditions['seed']}, network: {conditions['network']}",
        f"fitsfs against the best of {', '.join(peers) or 'no peers'} in the same run, each on a fresh mount with an "
        f"empty cache; {conditions['date']}, {conditions['cpus']} CPUs. A ratio is seconds of fitsfs / seconds of the "
        f"best peer.",
        by_family(outcomes),
        losses(outcomes, conditions),
        wrong(outcomes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def by_family(outcomes: list[Outcome]) -> str:
    """Return a table with a line for each family, and one for all."""
    lines = [
        f"| family | cases | median | worst | lost by > {LOST} | > {BADLY_LOST} | most GETs | most MB |",
        "|---|" + "---:|" * 7,
    ]
    families = sorted({outcome.family for outcome in outcomes})
    groups = [(family, [o for o in outcomes if o.family == family]) for family in families]
    for name, group in [*groups, ("**all**", outcomes)]:
        figures = summary([outcome.ratio for outcome in group if outcome.ratio is not None])
        runs = [outcome.runs["fitsfs"] for outcome in group if "fitsfs" in outcome.runs]
        if not figures["cases"] or not runs:
            continue
        lines.append(
            f"| {name} | {figures['cases']} | {figures['median']:.2f} | {figures['worst']:.2f} | {figures['lost']:.0%} "
            f"| {figures['badly_lost']:.0%} | {max(run.gets for run in runs)} "
            f"| {max(run.bytes for run in runs) / 1e6:.0f} |"
        )
    return "\n".join(lines)


def losses(outcomes: list[Outcome], conditions: dict[str, Any]) -> str:
    """Return a table of the cases that were lost, the worst first."""
    lost = sorted((o for o in outcomes if o.ratio and o.ratio > LOST), key=lambda o: -(o.ratio or 0))
    if not lost:
        return ""
    lines = [
        "## Lost",
        f"One again: `bench/run random --seed {conditions['seed']} --case N`",
        "",
        "| N | ratio | fitsfs, s | GETs / MB | best peer, s | GETs / MB | case |",
        "|---:|---:|---:|---:|---:|---:|---|",
    ]
    for outcome in lost:
        ours, best = outcome.runs["fitsfs"], outcome.runs[outcome.best_peer]
        lines.append(
            f"| {outcome.number} | {outcome.ratio:.2f} | {ours.seconds:.3f} | {ours.gets} / {ours.bytes / 1e6:.1f} "
            f"| {outcome.best_peer} {best.seconds:.3f} | {best.gets} / {best.bytes / 1e6:.1f} "
            f"| {outcome.family}: {outcome.title} |"
        )
    return "\n".join(lines)


def wrong(outcomes: list[Outcome]) -> str:
    """Return a list of the results that were not those of local disk, and of failures."""
    lines = [
        f"- case {outcome.number}, {name}: {outcome.runs[name].problem or 'another result than local disk'}"
        for outcome in outcomes
        for name in outcome.wrong
    ]
    return "\n".join(["## Wrong", *lines]) if lines else ""


def progress(outcome: Outcome) -> str:
    """Return a line about a case."""
    times = ", ".join(
        f"{name} {run.seconds:.3f}{'' if outcome.good(name) else ' ' + (run.problem or 'WRONG')}"
        + (f" ({run.gets}/{run.bytes / 1e6:.1f})" if name == "fitsfs" else "")
        for name, run in outcome.runs.items()
    )
    ratio = f"{outcome.ratio:6.2f}" if outcome.ratio is not None else "     -"
    return f"{outcome.number:4} {ratio}  {outcome.family}: {outcome.title}: {times}"
