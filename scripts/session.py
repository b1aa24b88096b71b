#!/usr/bin/env python3
"""Type lines into Python and show the session as a user would see it.

usage: session.py PATH LINE...     `path` is set to PATH. The first line that fails ends the session with status 1.
"""

import codeop
import sys
import warnings


def main() -> None:
    """Run the session that the command line gives."""
    path, *lines = sys.argv[1:]
    warnings.simplefilter("ignore")
    names: dict[str, object] = {}
    for line in (f"path = {path!r}", *lines):
        print(f">>> {line}", flush=True)
        # Compiled as at the prompt: the value of an expression is printed. An exception ends the program.
        exec(codeop.compile_command(line) or sys.exit(f"session.py: unfinished line: {line}"), names)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
