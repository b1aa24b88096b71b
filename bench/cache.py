"""Measure the cache on disk: what two mounts share, a working set larger than the quota, and a very large cache.

`bench/run cache` prepares what this program needs, then calls it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server import NETWORKS, Server, Shape, Traffic, lab, output
from systems import environment, is_mounted, unmount

MIB = 1 << 20
# What is read again and again is twice the quota, in files of this size.
FILE = 32 * MIB
QUOTA = 512 * MIB
# A very large cache: so many files with so many blocks of 16 KiB each.
FILES = 50_000
BLOCKS = 20
BLOCK = 16 << 10
LOCAL = Shape(ttfb_ms=0.0, total_mbps=10_000.0)


@dataclass
class Context:
    """What a measurement runs with."""

    work: Path
    fitsfs: str
    lab: str
    minutes: float
    started: list[Path] = field(default_factory=list)

    def files(self, name: str, count: int, size: int) -> Path:
        """Make a bucket of files in a folder, each different from the others; returns the folder of buckets."""
        root = self.work / name
        bucket = root / "archive"
        bucket.mkdir(parents=True)
        for number in range(count):
            with (bucket / f"{number:05}.fits").open("wb") as file:
                file.write(random.Random(number).randbytes(min(size, 4096)))
                file.truncate(size)
        return root

    @contextmanager
    def mounted(self, server: Server, cache: Path, *options: str) -> Iterator[Path]:
        """Mount the bucket with a cache; unmount it."""
        mountpoint = self.work / f"mnt-{len(self.started)}"
        self.started.append(mountpoint)
        command = [self.fitsfs, "mount", f"s3://{server.bucket}", str(mountpoint), "--no-sign-request"]
        command += ["--endpoint-url", server.endpoint, "--cache-dir", str(cache), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment())
        try:
            yield mountpoint
        finally:
            unmount(mountpoint)
            wait_until(lambda: not is_mounted(mountpoint))

    def status(self, mountpoint: Path) -> dict[str, Any]:
        """Return the status of a mount."""
        return json.loads(output([self.fitsfs, "status", mountpoint, "--json"]))


def sharing(context: Context) -> dict[str, Any]:
    """Read one file of 1 GB by eight processes on two mounts that share a cache."""
    size = 1000 * MIB
    root, cache = context.files("sharing", 1, size), context.work / "shared-cache"
    with (
        lab(context.lab, root, "archive", NETWORKS["region"], context.work) as server,
        context.mounted(server, cache) as one,
        context.mounted(server, cache) as two,
    ):
        server.clear()
        started = time.monotonic()
        places = [one, two] * 4
        readers = [subprocess.Popen(["cat", place / "00000.fits"], stdout=subprocess.DEVNULL) for place in places]
        failed = sum(reader.wait() != 0 for reader in readers)
        seconds = time.monotonic() - started
        traffic = seen(server)
    return {
        "what": "8 processes on 2 mounts read one file of 1 GB",
        "failed": failed,
        "seconds": round(seconds, 2),
        "GETs": traffic.gets,
        "each byte fetched": round(traffic.bytes / size, 3),
    }


def quota(context: Context) -> dict[str, Any]:
    """Read files at random, together twice the quota, and compare with what an LRU of whole files would do."""
    count = 2 * QUOTA // FILE
    root, cache = context.files("quota", count, FILE), context.work / "small-cache"
    chooser, lru = random.Random(4), Lru(QUOTA // FILE)
    largest = reads = errors = 0
    options = ["--cache-size", str(QUOTA), "--metadata-ttl", "1h"]
    with (
        lab(context.lab, root, "archive", LOCAL, context.work) as server,
        context.mounted(server, cache, *options) as mountpoint,
    ):
        server.clear()
        deadline = time.monotonic() + 60 * context.minutes
        while time.monotonic() < deadline:
            # Some files are wanted more than others.
            number = min(int(chooser.expovariate(3.0 / count)), count - 1)
            reads += 1
            lru.use(number)
            errors += not read(mountpoint / f"{number:05}.fits", root / "archive" / f"{number:05}.fits")
            largest = max(largest, taken(cache))
        traffic = seen(server)
        status = context.status(mountpoint)
    return {
        "what": f"{2 * QUOTA // MIB} MiB read for {context.minutes:g} minutes through a quota of {QUOTA // MIB} MiB",
        "files read": reads,
        "errors": errors,
        "largest size over quota": round(largest / QUOTA, 4),
        "hit rate": round(1 - traffic.bytes / (reads * FILE), 3),
        "hit rate of an LRU": round(lru.hits / reads, 3),
        "dropped MB": round(status["disk_dropped_bytes"] / 1e6, 1),
    }


def scale(context: Context) -> dict[str, Any]:
    """Fill a cache with a million blocks; mount it with cold disk caches."""
    root, cache = context.files("scale", FILES, BLOCKS * BLOCK), context.work / "large-cache"
    options = ["--cache-size", "100GiB", "--metadata-ttl", "1h"]
    with lab(context.lab, root, "archive", LOCAL, context.work) as server:
        with context.mounted(server, cache, *options) as mountpoint:
            started = time.monotonic()
            subprocess.run([context.fitsfs, "warm", str(mountpoint)], check=True, stdout=subprocess.DEVNULL)
            filled = time.monotonic() - started
        forget_all()
        started = time.monotonic()
        with context.mounted(server, cache, *options) as mountpoint:
            ready = time.monotonic() - started
            server.clear()
            chooser = random.Random(5)
            started = time.monotonic()
            sample = chooser.sample(range(FILES), 500)
            wrong = sum(not read(mountpoint / f"{n:05}.fits", root / "archive" / f"{n:05}.fits") for n in sample)
            seconds = time.monotonic() - started
            traffic = seen(server)
            peak = peak_memory(context.status(mountpoint)["pid"])
    return {
        "what": f"a cache of {FILES * BLOCKS} blocks in {FILES} files",
        "seconds to fill": round(filled, 1),
        "seconds to mount": round(ready, 3),
        "peak memory, MB": round(peak / 1e6, 1),
        "seconds for 500 files": round(seconds, 2),
        "GETs": traffic.gets,
        "wrong": wrong,
    }


class Lru:
    """Whole files, the one that was used longest ago goes first."""

    def __init__(self, capacity: int) -> None:
        """Hold at most so many files."""
        self.capacity = capacity
        self.files: OrderedDict[int, None] = OrderedDict()
        self.hits = 0

    def use(self, number: int) -> None:
        """Use a file."""
        self.hits += number in self.files
        self.files[number] = None
        self.files.move_to_end(number)
        if len(self.files) > self.capacity:
            self.files.popitem(last=False)


def seen(server: Server) -> Traffic:
    """Return what the server saw, which ours tells."""
    traffic = server.traffic()
    if traffic is None:
        raise RuntimeError("the server does not tell what it saw")
    return traffic


def read(path: Path, truth: Path) -> bool:
    """Read a file past the page cache, and compare it."""
    with path.open("rb", buffering=0) as file, truth.open("rb", buffering=0) as right:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while piece := file.read(4 * MIB):
            if piece != right.read(len(piece)):
                return False
        return not right.read(1)


def taken(folder: Path) -> int:
    """Return what a folder takes on disk, in bytes; `du` complains of files that are evicted while it looks at them."""
    told = subprocess.run(["du", "-s", "-B1", folder], capture_output=True, text=True, check=False).stdout
    return int(told.split()[0])


def peak_memory(pid: int) -> int:
    """Return the most memory that a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def forget_all() -> None:
    """Drop the page cache, and what is known of directories."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait at most 30 s."""
    deadline = time.monotonic() + 30
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)


MEASUREMENTS = {"sharing": sharing, "quota": quota, "scale": scale}


def main() -> int:
    """Measure what the command line asks for, and print it as JSON."""
    parser = argparse.ArgumentParser(prog="bench/run cache", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=[*MEASUREMENTS])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to read what does not fit (default: 10)")
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--fitsfs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--lab", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    context = Context(options.work, options.fitsfs, options.lab, options.minutes)
    for name in options.only:
        print(json.dumps({name: MEASUREMENTS[name](context)}, indent=1), flush=True)
        for folder in options.work.iterdir():
            if folder.is_dir() and not folder.name.startswith("mnt-"):
                shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
