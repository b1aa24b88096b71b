#!/usr/bin/env python3
"""Check that every dependency has a licence that deny.toml allows, and comes from the package registry.

This is the part of `cargo deny check` that needs no network: it reads `cargo metadata --locked`. Advisories are in a
database that would have to be fetched; they are not checked here.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
REGISTRY = "registry+"


def main() -> int:
    """Check all packages of the lock file; name those that fail."""
    allowed = set(tomllib.loads((PROJECT / "deny.toml").read_text(encoding="utf-8"))["licenses"]["allow"])
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, cwd=PROJECT, capture_output=True, check=True).stdout)
    failures = []
    for package in metadata["packages"]:
        name = f"{package['name']} {package['version']}"
        licence = package["license"]
        if not licence or not is_allowed(licence, allowed):
            failures.append(f"{name}: licence {licence!r} is not allowed by deny.toml")
        if package["source"] is None and not Path(package["manifest_path"]).is_relative_to(PROJECT):
            failures.append(f"{name}: a path outside of the project")
        if package["source"] is not None and not package["source"].startswith(REGISTRY):
            failures.append(f"{name}: comes from {package['source']}")
    print("\n".join(failures) or f"{len(metadata['packages'])} packages, all licences and sources allowed")
    return 1 if failures else 0


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """Evaluate an SPDX expression; the old form `MIT/Apache-2.0` means OR."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    terms: list[str] = []
    while tokens:
        word = tokens.pop(0)
        if tokens and tokens[0] == "WITH":
            word = " ".join([word, tokens.pop(0), tokens.pop(0)])
        terms.append({"AND": "and", "OR": "or"}.get(word, word if word in "()" else str(word in allowed)))
    return bool(evaluate(terms))


def evaluate(terms: list[str]) -> bool:
    """Evaluate `True`, `False`, `and`, `or` and parentheses; `and` binds stronger."""
    values = [conjunction(terms)]
    while terms and terms[0] == "or":
        terms.pop(0)
        values.append(conjunction(terms))
    return any(values)


def conjunction(terms: list[str]) -> bool:
    """Evaluate what `and` joins, from the front of the terms."""
    values = [operand(terms)]
    while terms and terms[0] == "and":
        terms.pop(0)
        values.append(operand(terms))
    return all(values)


def operand(terms: list[str]) -> bool:
    """Evaluate one licence, or what stands in parentheses."""
    term = terms.pop(0)
    if term == "(":
        value = evaluate(terms)
        terms.pop(0)
        return value
    return term == "True"


if __name__ == "__main__":
    sys.exit(main())
