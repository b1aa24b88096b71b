"""Cases of bytes: whole files, stretches, pages, by reads of some length and by memory maps, by one thread or some."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from chance.case import Drawn, between, family
from workloads.headers import PACKED
from workloads.registry import DRC, I2D, MIB, RATE, UNEVEN
from workloads.tables import CATALOGUE

OPAQUE = "mast/hlsp/survey/catalogue_v1.parquet"
GZIPPED = "mast/hlsp/packed/image_v1.fits.gz"
FILES = (DRC, I2D, RATE, UNEVEN, CATALOGUE, OPAQUE, "roman/public/r00/r0000101001001001001_0001_wfi01_cal.asdf")
WORKED = 48 * MIB
SIZES = (4096, 16_384, 65_536, 131_072, 262_144, MIB, 4 * MIB)


@contextmanager
def opened(path: Path) -> Iterator[tuple[int, int]]:
    """Open a file; yield its descriptor and its size."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor, os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def stretch(descriptor: int, start: int, end: int, size: int) -> bytes:
    """Read from an offset to another, so many bytes at a time."""
    return b"".join(os.pread(descriptor, min(size, end - at), at) for at in range(start, end, size))


@family("reads in order")
def forward(rng: Random) -> Drawn:
    """Read a stretch from anywhere in order, with reads of one length."""
    name, size = rng.choice(FILES), rng.choice(SIZES)
    start, length = rng.choice([0.0, rng.random()]), between(rng, MIB, WORKED)

    def run(root: Path) -> list[Any]:
        with opened(root / name) as (descriptor, end):
            first = int(start * max(0, end - length))
            return [stretch(descriptor, first, min(end, first + length), size)]

    return f"{length / 1e6:.1f} MB from {start:.0%}, {size} bytes a read: {name.rsplit('/', 1)[1]}", [name], run


@family("reads backward")
def backward(rng: Random) -> Drawn:
    """Read a stretch from its end to its beginning, with reads of one length."""
    name, size = rng.choice(FILES), rng.choice(SIZES[2:])
    start, length = rng.choice([1.0, rng.random()]), between(rng, MIB, WORKED // 2)

    def run(root: Path) -> list[Any]:
        with opened(root / name) as (descriptor, end):
            first = int(start * max(0, end - length))
            offsets = range(first, min(end, first + length), size)
            return [os.pread(descriptor, size, offset) for offset in reversed(offsets)]

    return f"{length / 1e6:.1f} MB before {start:.0%}, {size} bytes a read: {name.rsplit('/', 1)[1]}", [name], run


@family("reads anywhere")
def anywhere(rng: Random) -> Drawn:
    """Read where no pattern leads, in all of a file or in a part."""
    name, size = rng.choice(FILES), rng.choice(SIZES)
    count, part, start = between(rng, 10, min(400, WORKED // size)), rng.choice([1.0, 1.0, 0.1]), rng.random()
    places = [rng.random() for _ in range(count)]

    def run(root: Path) -> list[Any]:
        with opened(root / name) as (descriptor, end):
            room = part * (end - size)
            first = start * (end - size - room)
            return [os.pread(descriptor, size, int(first + place * room)) for place in places]

    return f"{count} reads of {size} bytes in {part:.0%}: {name.rsplit('/', 1)[1]}", [name], run


@family("map anywhere")
def touches(rng: Random) -> Drawn:
    """Touch short pieces of a memory map, anywhere or ascending."""
    name, count, size = rng.choice(FILES), between(rng, 20, 300), between(rng, 8, 60_000)
    places = [rng.random() for _ in range(count)]
    ascending = rng.random() < 0.5
    if ascending:
        places.sort()

    def run(root: Path) -> list[Any]:
        with (root / name).open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            offsets = [int(place * (len(mapped) - size)) for place in places]
            return [mapped[offset : offset + size] for offset in offsets]

    order = "ascending" if ascending else "as they come"
    return f"{count} pieces of {size} bytes of a map, {order}: {name.rsplit('/', 1)[1]}", [name], run


@family("every so many bytes")
def strided(rng: Random) -> Drawn:
    """Read pieces at equal distances."""
    name, size = rng.choice(FILES), between(rng, 500, 200_000)
    count, step = between(rng, 20, 250), size * rng.choice([2, 3, 10, 50])
    start = rng.random()

    def run(root: Path) -> list[Any]:
        with opened(root / name) as (descriptor, end):
            first = int(start * max(0, end - count * step))
            return [os.pread(descriptor, size, first + number * step) for number in range(count)]

    return f"{count} reads of {size} bytes, {step} apart: {name.rsplit('/', 1)[1]}", [name], run


@family("whole file")
def whole(rng: Random) -> Drawn:
    """Read a file from its first to its last byte, as `cp` does."""
    name, size = rng.choice([RATE, CATALOGUE, OPAQUE, GZIPPED, UNEVEN]), rng.choice(SIZES[3:])

    def run(root: Path) -> list[Any]:
        with opened(root / name) as (descriptor, end):
            return [stretch(descriptor, 0, end, size)]

    return f"all of {name.rsplit('/', 1)[1]}, {size} bytes a read", [name], run


@family("interleaved threads")
def threads(rng: Random) -> Drawn:
    """Read stretches by some threads at once, each in order."""
    count, size = rng.choice([2, 3, 4, 8]), rng.choice(SIZES[2:])
    names = [rng.choice(FILES) for _ in range(count)] if rng.random() < 0.5 else [rng.choice(FILES)] * count
    starts, length = [rng.random() for _ in range(count)], between(rng, MIB // 2, WORKED // count)

    def run(root: Path) -> list[Any]:
        def one(name: str, start: float) -> bytes:
            with opened(root / name) as (descriptor, end):
                first = int(start * max(0, end - length))
                return stretch(descriptor, first, min(end, first + length), size)

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(one, names, starts))

    where = f"{len(set(names))} files" if len(set(names)) > 1 else names[0].rsplit("/", 1)[1]
    return f"{count} threads of {length / 1e6:.1f} MB, {size} bytes a read: {where}", sorted(set(names)), run


@family("footer, then pieces")
def footer(rng: Random) -> Drawn:
    """Read the end of a file, then some stretches that it names, as readers of Parquet and HDF5 do."""
    name = rng.choice([OPAQUE, OPAQUE, PACKED])
    tail, size, count = between(rng, 8, 200_000), between(rng, 20_000, 2 * MIB), between(rng, 2, 20)
    places = sorted(rng.random() for _ in range(count))

    def run(root: Path) -> list[Any]:
        with opened(root / name) as (descriptor, end):
            found = [os.pread(descriptor, 4, 0), os.pread(descriptor, tail, end - tail)]
            return found + [os.pread(descriptor, size, int(place * (end - size))) for place in places]

    return f"the last {tail} bytes, then {count} pieces of {size}: {name.rsplit('/', 1)[1]}", [name], run
