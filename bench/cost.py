"""Measure what a byte costs: gigabytes per second, processor time of the filesystem per gigabyte, and its peak memory.

The server is not slowed down, so that what is measured is the work of the filesystem and not the network. Each case is
a mount of its own with an empty cache: a file read in order by reads of 1 MiB, the same by a memory map, and eight
processes that read 1 MiB at random places. The processor time includes what is done behind the reads, as writing
the cache on disk.

`bench/run cost` prepares what this program needs, then calls it.
"""

from __future__ import annotations

import argparse
import json
import mmap
import multiprocessing
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from systems import MountS3, empty_folder, environment, stop, unmount, wait_for_mount

MIB = 1 << 20
NAME = "cube.fits"
WIDTH = 4096
# Processes that read at random, and what each of them reads.
PROCESSES = 8
READS = 64
# Work is over when no processor time was used for so long, in seconds; nothing takes longer than the second number.
QUIET_SECONDS = 0.4
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Cost:
    """What a case has cost: bytes, seconds, seconds of processor time, and the peak of memory in bytes."""

    size: int
    seconds: float
    processor: float
    memory: int


@dataclass(frozen=True)
class Place:
    """Where to mount, and what."""

    work: Path
    endpoint: str
    bucket: str
    size: int


def in_order(path: Path, size: int) -> int:
    """Read a file in order, 1 MiB at a time; returns the number of bytes."""
    buffer = bytearray(MIB)
    total = 0
    with path.open("rb", buffering=0) as file:
        while total < size:
            total += os.preadv(file.fileno(), [buffer], total)
    return total


def mapped(path: Path, size: int) -> int:
    """Copy a file out of a memory map, in order; returns the number of bytes."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as view:
        return sum(len(view[at : at + MIB]) for at in range(0, size, MIB))


def at_random(path: Path, size: int) -> int:
    """Read 1 MiB at random places in several processes at once; returns the number of bytes."""
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        return sum(pool.starmap(read_places, [(path, size, seed) for seed in range(PROCESSES)], chunksize=1))


def read_places(path: Path, size: int, seed: int) -> int:
    """Read 1 MiB at each of some random places; returns the number of bytes."""
    places = random.Random(seed)
    with path.open("rb", buffering=0) as file:
        return sum(len(os.pread(file.fileno(), MIB, places.randrange(size - MIB))) for _ in range(READS))


CASES: dict[str, Callable[[Path, int], int]] = {"in order": in_order, "mapped": mapped, "at random": at_random}


@contextmanager
def serving(lab: str, root: Path, work: Path) -> Iterator[str]:
    """Run fitsfs-lab as fast as it can; yields its address."""
    port_file = work / "lab.port"
    command = [lab, "serve", "--root", str(root), "--port", "0", "--port-file", str(port_file), "--anonymous"]
    with (work / "lab.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or (port_file.exists() and bool(port_file.read_text().strip())))
        yield f"http://127.0.0.1:{int(port_file.read_text())}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def mounted(command: list[str], mountpoint: Path, work: Path) -> Iterator[int]:
    """Run a filesystem in the foreground; yields its process number."""
    with (work / "mount.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
    try:
        wait_for_mount(mountpoint, process)
        yield process.pid
    finally:
        unmount(mountpoint)
        stop(process)


def measure(place: Place, command: Callable[[Path, Path], list[str]], case: str) -> Cost:
    """Mount with an empty cache, and read as the case says."""
    with (
        empty_folder(place.work / "cache") as cache,
        empty_folder(place.work / "mnt") as mountpoint,
        mounted(command(mountpoint, cache), mountpoint, place.work) as pid,
    ):
        path = mountpoint / NAME
        before = processor_seconds(pid)
        started = time.monotonic()
        size = CASES[case](path, place.size)
        seconds = time.monotonic() - started
        return Cost(size, seconds, settled(pid) - before, peak_memory(pid))


def fitsfs(binary: str, place: Place, *, cached: bool) -> Callable[[Path, Path], list[str]]:
    """Return the command that mounts the bucket by fitsfs."""

    def command(mountpoint: Path, cache: Path) -> list[str]:
        options = ["--cache-dir", str(cache)] if cached else ["--cache-size", "0"]
        source = ["--endpoint-url", place.endpoint, "--no-sign-request", "--foreground", "--log", "warn"]
        return [binary, "mount", f"s3://{place.bucket}", str(mountpoint), *source, *options]

    return command


def mountpoint_for_s3(place: Place, *, cached: bool) -> Callable[[Path, Path], list[str]]:
    """Return the command that mounts the bucket by Mountpoint for Amazon S3."""

    def command(mountpoint: Path, cache: Path) -> list[str]:
        source = ["--endpoint-url", place.endpoint, "--force-path-style", "--region", "us-east-1", "--no-sign-request"]
        options = ["--read-only", "--maximum-throughput-gbps", "10", "--foreground"]
        cache_options = ["--cache", str(cache)] if cached else []
        return [MountS3.program, place.bucket, str(mountpoint), *source, *options, *cache_options]

    return command


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settled(pid: int) -> float:
    """Return the processor time of a process once it has nothing left to do."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    used, since = processor_seconds(pid), time.monotonic()
    while time.monotonic() < min(since + QUIET_SECONDS, deadline):
        time.sleep(0.05)
        if (now := processor_seconds(pid)) > used + 0.02:
            used, since = now, time.monotonic()
    return processor_seconds(pid)


def peak_memory(pid: int) -> int:
    """Return the most memory that a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait at most 30 s."""
    deadline = time.monotonic() + 30
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)


def make_file(path: Path, size: int) -> int:
    """Make a FITS image of about so many bytes, all zeros but its header, that takes no disk; returns its size."""
    rows = size // (4 * WIDTH)
    cards = [
        f"{name:8}= {value:>20}"
        for name, value in (("SIMPLE", "T"), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", WIDTH), ("NAXIS2", rows))
    ]
    header = "".join(f"{card:80}" for card in [*cards, "END"]).ljust(2880)
    with path.open("wb") as file:
        file.write(header.encode())
        file.truncate(2880 + -(-rows * WIDTH * 4 // 2880) * 2880)
    return path.stat().st_size


def report(name: str, case: str, costs: list[Cost]) -> dict[str, object]:
    """Print the medians of a case, and return them."""
    speed = statistics.median(cost.size / cost.seconds for cost in costs) / 1e9
    processor = statistics.median(cost.processor / cost.size for cost in costs) * 1e9
    memory = max(cost.memory for cost in costs) / MIB
    print(f"{name:24} {case:10} {speed:5.2f} GB/s {processor:6.2f} CPU-s/GB {memory:6.0f} MiB", file=sys.stderr)
    return {
        "system": name,
        "case": case,
        "GB/s": round(speed, 3),
        "CPU-s/GB": round(processor, 3),
        "peak MiB": round(memory),
    }


def main() -> int:
    """Measure what the command line asks for, and print it as JSON."""
    parser = argparse.ArgumentParser(prog="bench/run cost", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=[*CASES], metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--size", type=int, default=2048, help="MiB of the file that is read (default: 2048)")
    parser.add_argument("--repeat", type=int, default=3, help="how often; medians are printed (default: 3)")
    parser.add_argument("--against", nargs="*", default=[], help="other binaries of fitsfs, measured in turns with it")
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--fitsfs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--lab", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    bucket = options.work / "root" / "archive"
    bucket.mkdir(parents=True)
    size = make_file(bucket / NAME, options.size * MIB)
    results = []
    with serving(options.lab, bucket.parent, options.work) as endpoint:
        place = Place(options.work, endpoint, bucket.name, size)
        systems = {}
        for cached in (True, False):
            suffix = "" if cached else ", no cache"
            for number, binary in enumerate([options.fitsfs, *options.against]):
                systems[f"fitsfs{f' {number}' if number else ''}{suffix}"] = fitsfs(binary, place, cached=cached)
            if shutil.which(MountS3.program):
                systems[f"{MountS3.name}{suffix}"] = mountpoint_for_s3(place, cached=cached)
        for case in options.only:
            costs: dict[str, list[Cost]] = {name: [] for name in systems}
            for _ in range(options.repeat):
                for name, command in systems.items():
                    costs[name].append(measure(place, command, case))
            results += [report(name, case, of_system) for name, of_system in costs.items()]
    print(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
