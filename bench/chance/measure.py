"""Run a case on a system: on a fresh mount, in a process of its own, for so long as it may take."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from chance.case import Case
from server import SETTLE_SECONDS, Traffic
from systems import Context, Mount

# A case is to take seconds; a system that takes a minute has lost it, and how much longer it takes tells nothing new.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Run:
    """What came of a case on a system: no digest if it failed or was not done in time."""

    seconds: float
    digest: str = ""
    problem: str = ""
    gets: int = 0
    metadata: int = 0
    bytes: int = 0

    def with_traffic(self, traffic: Traffic | None) -> Run:
        """Add what the server saw."""
        if traffic is None:
            return self
        return Run(self.seconds, self.digest, self.problem, traffic.gets, traffic.metadata, traffic.bytes)


def make_ready() -> None:
    """Import and use once what cases use: a process that is forked from this one has no more to load."""
    import fitsio  # noqa: F401
    import numpy as np
    from astropy.io import fits

    warnings.simplefilter("ignore")
    file = io.BytesIO()
    image = fits.CompImageHDU(np.zeros((8, 8), np.int32))
    table = fits.BinTableHDU.from_columns([fits.Column(name="A", format="PE()", array=[[1.0], [2.0]])])
    fits.HDUList([fits.PrimaryHDU(), image, table]).writeto(file)
    file.seek(0)
    with fits.open(file) as hdus:
        hdus.info(output=False)
        hdus[1].section[:2, :2].copy()
        list(hdus[2].data["A"])


def on_disk(case: Case, context: Context) -> Run:
    """Return what is right."""
    return in_process(case, context.bucket)


def on_mount(case: Case, system: Mount, context: Context) -> Run:
    """Run a case on a fresh mount with an empty cache."""
    try:
        with system.started(context, case.files) as session:
            context.server.clear()
            run = in_process(case, Path(session.options[session.options.index("--root") + 1]))
            time.sleep(SETTLE_SECONDS)
            return run.with_traffic(context.server.traffic())
    except (OSError, RuntimeError) as error:
        return Run(PATIENCE_SECONDS, problem=str(error))


def in_process(case: Case, root: Path) -> Run:
    """Run a case in a fork of this process, which is ended when it takes too long."""
    forks = multiprocessing.get_context("fork")
    ours, theirs = forks.Pipe(duplex=False)
    process = forks.Process(target=work, args=(case, root, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE_SECONDS):
            return Run(PATIENCE_SECONDS, problem=f"more than {PATIENCE_SECONDS:.0f} s")
        seconds, digest, problem = ours.recv()
        return Run(seconds, digest, problem)
    except EOFError:
        return Run(PATIENCE_SECONDS, problem="the process died")
    finally:
        process.kill()
        # What waits for a mount that hangs ends with the mount.
        process.join(timeout=5)
        ours.close()


def work(case: Case, root: Path, answer: Connection) -> None:
    """Run a case in this process; send seconds, digest and problem."""
    started = time.perf_counter()
    try:
        found = case.run(root)
    except Exception as error:  # whatever a library makes of a failed read
        answer.send((PATIENCE_SECONDS, "", f"{type(error).__name__}: {error}"))
        return
    seconds = time.perf_counter() - started
    answer.send((seconds, digest(found), ""))


def digest(found: Iterable[Any]) -> str:
    """Return a short hash of what was read, whatever the byte order of its arrays."""
    checksum = hashlib.sha256()
    for item in found:
        if isinstance(item, bytes):
            checksum.update(item)
        elif hasattr(item, "tobytes") and item.dtype.kind != "O":
            checksum.update(item.astype(item.dtype.newbyteorder("=")).tobytes())
        else:
            checksum.update(repr(item).encode())
    return checksum.hexdigest()[:16]
