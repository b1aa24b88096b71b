#!/usr/bin/env python3
"""Check that what the documentation names exists: links between pages, their headings, and paths of the project.

A path is what stands in `backticks` and begins with a folder of the project's top level, or is a file there.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def main() -> int:
    """Check all pages under version control; name what is missing."""
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, check=True, text=True).stdout
    files = set(listed.splitlines())
    folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    pages = sorted(name for name in files if name.endswith(".md"))
    failures = [failure for page in pages for failure in check(page, files | folders)]
    print("\n".join(failures) or f"{len(pages)} pages, all that they name exists")
    return 1 if failures else 0


def check(page: str, known: set[str]) -> Iterator[str]:
    """Yield what a page names and is not there."""
    text = FENCE.sub("", (PROJECT / page).read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if "://" not in target and not target.startswith("mailto:"):
            yield from check_link(page, target, known)
    tops = {name.split("/")[0] for name in known}
    for code in CODE.findall(text):
        path = code.split()[0].removeprefix("./").rstrip("/")
        if path.split("/")[0] in tops and "*" not in path and path not in known:
            yield f"{page}: `{code}` does not exist"


def check_link(page: str, target: str, known: set[str]) -> Iterator[str]:
    """Yield what is wrong with a link of a page to another file or heading."""
    path, _, anchor = target.partition("#")
    place = (PROJECT / page).parent / path if path else PROJECT / page
    try:
        name = str(place.resolve().relative_to(PROJECT))
    except ValueError:
        yield f"{page}: {target} leads out of the project"
        return
    if name not in known:
        yield f"{page}: {target} does not exist"
    elif anchor and anchor not in anchors(name):
        yield f"{page}: {target}: no such heading"


def anchors(page: str) -> set[str]:
    """Return the names by which the headings of a page are linked to."""
    text = FENCE.sub("", (PROJECT / page).read_text(encoding="utf-8"))
    slugs = (re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in HEADING.findall(text))
    return set(slugs)


if __name__ == "__main__":
    sys.exit(main())
