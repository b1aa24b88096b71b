#!/usr/bin/env python3
"""Run real tools on the files of a mount and on the same files on local disk, and compare what they say.

The tools are unmodified and know nothing of the mount. A tool that is missing is a failure: the message names the
remedy. LOCAL is an archive made by make_archive.py; MOUNT shows the same files.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import checks_heavy
import checks_light
from checking import LEVELS, Outcome, compare, selected

REGISTERED = (checks_light, checks_heavy)


def main() -> int:
    """Run the checks that the command line asks for."""
    options = parse_options()
    checks = selected(options.level, options.only)
    if options.list:
        print("\n".join(check.name for check in checks))
        return 0
    outcomes = []
    for check in checks:
        outcome = compare(check, options.mount.resolve(), options.local.resolve())
        outcomes.append(outcome)
        if not options.json:
            print(line(outcome), flush=True)
    failed = sum(bool(outcome.why) for outcome in outcomes)
    if options.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    else:
        print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed or not outcomes else 0


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mount", type=Path, metavar="MOUNT")
    parser.add_argument("local", type=Path, metavar="LOCAL")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a check, or a pattern of names")
    parser.add_argument("--level", choices=LEVELS, default="light", help="heavy includes light")
    parser.add_argument("--list", action="store_true", help="print the names of the checks and run none")
    parser.add_argument("--json", action="store_true", help="print JSON, with the times of both sides")
    return parser.parse_args()


def line(outcome: Outcome) -> str:
    """Return the line of text that reports an outcome."""
    if outcome.why:
        return f"FAIL {outcome.name}: {outcome.why}"
    return f"ok {outcome.name} ({outcome.seconds:.2f})"


if __name__ == "__main__":
    sys.exit(main())
