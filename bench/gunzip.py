"""Measure cutouts of a gzip file by `fitsfs mount --gunzip`: the first pass, and what follows it.

The file is an image of 16 bits with the noise of a sky, a gigabyte. Opened for the first time it is decompressed once;
a cutout at another place is then read on the same mount, and on a new one, with the compressed bytes in the cache and
without them. Each of them is compared with the truth.

`bench/run gunzip` prepares what this program needs, then calls it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from server import NETWORKS, lab
from systems import empty_folder, environment

BUCKET = "gunzip"
NAME = "sky.fits"
WIDTH = 16384
SIDE = 300
HEADER = 2880
# Rows that are made at a time.
ROWS = 1024


def make(folder: Path, mib: int) -> int:
    """Make the file and its gzip; returns the number of rows."""
    rows = (mib << 20) // (2 * WIDTH)
    plain, packed = folder / NAME, folder / f"{NAME}.gz"
    if packed.exists() and plain.exists() and plain.stat().st_size >= HEADER + rows * WIDTH * 2:
        return rows
    folder.mkdir(parents=True, exist_ok=True)
    cards = [("SIMPLE", "T"), ("BITPIX", 16), ("NAXIS", 2), ("NAXIS1", WIDTH), ("NAXIS2", rows)]
    header = "".join(f"{f'{name:8}= {value:>20}':80}" for name, value in cards) + f"{'END':80}"
    noise = np.random.default_rng(1)
    with plain.open("wb") as file:
        file.write(header.ljust(HEADER).encode())
        for first in range(0, rows, ROWS):
            count = min(ROWS, rows - first)
            file.write(noise.normal(1000, 20, (count, WIDTH)).astype(">i2").tobytes())
        file.write(b"\0" * (-file.tell() % HEADER))
    subprocess.run(["gzip", "--keep", "--force", "-6", str(plain)], check=True)
    return rows


def cutout(path: Path, rows: int, place: float) -> np.ndarray:
    """Read a square at a place of the image, row by row."""
    first, column = int(place * (rows - SIDE)), int((1 - place) * (WIDTH - SIDE))
    with path.open("rb") as file:
        lines = []
        for row in range(first, first + SIDE):
            file.seek(HEADER + 2 * (row * WIDTH + column))
            lines.append(np.frombuffer(file.read(2 * SIDE), dtype=">i2"))
    return np.array(lines)


def forget_largest(cache: Path) -> None:
    """Remove the object of the cache that takes most: the compressed bytes."""
    largest = max(cache.rglob("*.data"), key=lambda path: path.stat().st_blocks)
    largest.unlink()
    largest.with_suffix(".map").unlink()


class Runs:
    """Mounts of the bucket, one after the other, with the same cache."""

    def __init__(self, binary: str, endpoint: str, truth: Path, rows: int) -> None:
        """Begin without a mount."""
        self.binary, self.endpoint, self.truth, self.rows = binary, endpoint, truth, rows

    def mount(self, mountpoint: Path, cache: Path) -> None:
        """Mount (again)."""
        self.unmount(mountpoint)
        source = [f"s3://{BUCKET}", str(mountpoint), "--endpoint-url", self.endpoint, "--no-sign-request"]
        options = ["--gunzip", "--cache-dir", str(cache), "--cache-size", "4GiB"]
        command = [self.binary, "mount", *source, *options]
        subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL, check=True)

    def unmount(self, mountpoint: Path) -> None:
        """Take the mount away, if there is one."""
        subprocess.run([self.binary, "unmount", str(mountpoint)], stderr=subprocess.DEVNULL, check=False)

    def measure(self, mountpoint: Path, place: float) -> float:
        """Return the seconds of a cutout, which has to be right."""
        began = time.monotonic()
        found = cutout(mountpoint / NAME, self.rows, place)
        seconds = time.monotonic() - began
        if not np.array_equal(found, cutout(self.truth, self.rows, place)):
            sys.exit(f"the cutout at {place} is wrong")
        return seconds


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--fitsfs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--lab", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=1000, metavar="MIB", help="plain size of the file (1000)")
    parser.add_argument("--network", choices=NETWORKS, default="region", help="what the server imitates (region)")
    arguments = parser.parse_args()
    data = arguments.data / "gunzip"
    rows = make(data, arguments.size)
    packed = data / f"{NAME}.gz"
    root = arguments.work / "root"
    (root / BUCKET).mkdir(parents=True)
    (root / BUCKET / packed.name).symlink_to(packed.resolve())
    shape = NETWORKS[arguments.network]
    sys.stdout.write(f"{arguments.size} MiB in {packed.stat().st_size >> 20} MiB; {shape}\n")
    with (
        lab(arguments.lab, root, BUCKET, shape, arguments.work) as server,
        empty_folder(arguments.work / "mnt") as mountpoint,
        empty_folder(arguments.work / "cache") as cache,
    ):
        runs = Runs(arguments.fitsfs, server.endpoint, data / NAME, rows)
        first = None

        def report(what: str, place: float) -> None:
            nonlocal first
            server.clear()
            seconds = runs.measure(mountpoint, place)
            first = first or seconds
            traffic = server.traffic()
            told = f"{traffic.gets:5} GETs {traffic.bytes / 1e6:8.1f} MB" if traffic else ""
            sys.stdout.write(f"{what:46} {seconds:8.3f} s {first / seconds:8.1f} times as fast {told}\n")

        try:
            runs.mount(mountpoint, cache)
            report("first cutout, with the pass", 0.1)
            report("second cutout", 0.7)
            runs.mount(mountpoint, cache)
            report("new mount: another cutout", 0.4)
            report("new mount: the same again", 0.4)
            runs.unmount(mountpoint)
            forget_largest(cache)
            runs.mount(mountpoint, cache)
            report("new mount, compressed bytes not in the cache", 0.9)
        finally:
            runs.unmount(mountpoint)


if __name__ == "__main__":
    main()
