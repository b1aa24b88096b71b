"""What a check is, and how one is run: twice, each time in a process of its own, and the two results compared.

A process of its own, because a tool that reads through a broken mount may hang in the kernel or die of SIGBUS.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

TIMEOUT = 300.0
LEVELS = ("light", "heavy")


@dataclass(frozen=True)
class Sample:
    """The files that a check reads, below the mount or below the local directory."""

    root: Path
    names: Sequence[str]

    @property
    def path(self) -> Path:
        """The file of a check that reads one."""
        return self.root / self.names[0]

    @property
    def paths(self) -> list[Path]:
        """All files of the check."""
        return [self.root / name for name in self.names]

    def tool(self, *command: str | Path, failing: bool = False) -> str:
        """Run a tool and return what it printed, with the root's name taken out; `failing`: any exit status will do."""
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        if done.returncode and not failing:
            raise RuntimeError(f"{command[0]} ends with status {done.returncode}: {last_line(done.stderr)}")
        status = f"status {done.returncode}\n" if failing else ""
        return (status + done.stdout).replace(str(self.root), "ROOT")


@dataclass(frozen=True)
class Check:
    """A named use of a tool that must give one result on the mount and on local disk."""

    name: str
    level: str
    patterns: Sequence[str]
    needs: Sequence[str]
    setup: str
    run: Callable[[Sample], Any]

    def missing(self) -> str | None:
        """Say what is not installed, and the remedy."""
        for need in self.needs:
            kind, _, name = need.rpartition(":")
            found = importlib.util.find_spec(name) if kind == "module" else shutil.which(name)
            if not found:
                return f"{name} is not installed: run scripts/setup {self.setup}"
        return None


@dataclass(frozen=True)
class Outcome:
    """How a check went: `why` is empty if it passed; the times are those of the mount and of the local directory."""

    name: str
    why: str
    seconds: float = 0.0
    local_seconds: float = 0.0


CHECKS: list[Check] = []


def check(name: str, *patterns: str, needs: Sequence[str] = (), level: str = "light", setup: str = "test") -> Callable:
    """Register a check of the files that match the patterns: its result must be picklable and comparable."""

    def register(run: Callable[[Sample], Any]) -> Callable[[Sample], Any]:
        CHECKS.append(Check(name, level, patterns, needs, setup, run))
        return run

    return register


def selected(level: str, only: Sequence[str]) -> list[Check]:
    """Return the checks up to a level, or those named."""
    if only:
        return [check for check in CHECKS if any(fnmatch.fnmatch(check.name, pattern) for pattern in only)]
    return [check for check in CHECKS if LEVELS.index(check.level) <= LEVELS.index(level)]


def compare(check: Check, mount: Path, local: Path) -> Outcome:
    """Run a check on the mount and on the local directory."""
    if missing := check.missing():
        return Outcome(check.name, missing)
    names = matching(local, check.patterns)
    if not names:
        return Outcome(check.name, f"no file below {local} matches {' or '.join(check.patterns)}")
    results = []
    seconds = []
    for root in (mount, local):
        started = time.monotonic()
        result, error = isolated(check, Sample(root, names))
        seconds.append(time.monotonic() - started)
        if error:
            return Outcome(check.name, f"{root}: {error}", *seconds)
        results.append(result)
    return Outcome(check.name, difference(*results), *seconds)


def matching(root: Path, patterns: Sequence[str]) -> list[str]:
    """Return the names of the files that match, relative to the root, in order."""
    names = {str(path.relative_to(root)) for pattern in patterns for path in root.rglob(pattern) if path.is_file()}
    return sorted(names)


def isolated(check: Check, sample: Sample) -> tuple[Any, str]:
    """Run a check in a child process, with a temporary working directory; return its result or an error."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="fitsfs-compare-") as scratch:
        child = context.Process(target=_child, args=(check, sample, scratch, sender))
        child.start()
        sender.close()
        answered = receiver.poll(TIMEOUT)
        message = None
        with suppress(EOFError):
            message = receiver.recv() if answered else None
        _end(child)
        receiver.close()
    if message is not None:
        return message
    if not answered:
        return None, f"no result after {TIMEOUT:.0f} s"
    return None, f"died of {signal.Signals(-child.exitcode).name}" if (child.exitcode or 0) < 0 else "died"


def _child(check: Check, sample: Sample, scratch: str, sender: Connection) -> None:
    os.setsid()
    os.chdir(scratch)
    # What readers warn about is in the results where it matters.
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        message = (check.run(sample), "")
    except Exception as error:  # whatever a tool raises is the finding
        message = (None, f"{type(error).__name__}: {last_line(str(error))}".replace(str(sample.root), "ROOT"))
    sender.send(message)


def _end(child: multiprocessing.Process) -> None:
    """Wait for the child; if it has not ended by itself, end it and whatever it started."""
    child.join(timeout=5)
    if child.is_alive():
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.join(timeout=5)


def difference(mount: Any, local: Any, where: str = "") -> str:
    """Say where two results differ first; empty if they are equal."""
    if type(mount) is type(local):
        if isinstance(mount, dict) and mount.keys() == local.keys():
            return next((d for key in local if (d := difference(mount[key], local[key], f"{where}[{key!r}]"))), "")
        if isinstance(mount, list | tuple) and len(mount) == len(local):
            pairs = enumerate(zip(mount, local, strict=True))
            return next((d for n, (m, o) in pairs if (d := difference(m, o, f"{where}[{n}]"))), "")
        if isinstance(mount, str) and "\n" in mount + local and mount != local:
            return difference(mount.splitlines(), local.splitlines(), where)
        if mount == local:
            return ""
    return f"result{where} is {str(mount)[:120]!r} on the mount and {str(local)[:120]!r} on local disk"


def digest(values: Any) -> str:
    """Return the shape and a hash of an array, whatever its byte order and strides; of strings and objects as well."""
    array = np.asanyarray(values)
    if array.dtype.hasobject:
        return digest_bytes(repr(array.tolist()).encode())
    plain = np.ascontiguousarray(np.ma.getdata(array))
    return f"{array.shape} {array.dtype.str} {digest_bytes(plain.tobytes())}"


def digest_bytes(content: bytes) -> str:
    """Return a short hash."""
    return hashlib.sha256(content).hexdigest()[:32]


def last_line(text: str) -> str:
    """Return the last line that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
