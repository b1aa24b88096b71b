"""Reading at random positions: bytes, pages, stretches, apertures."""

from __future__ import annotations

import hashlib
import mmap
import os
import random
from pathlib import Path
from typing import Any

from sources import Source
from workloads.registry import BLOCK, I2D, MIB, PAGE, workload

FIELD = "mast/hlsp/survey/field_v1.fits"


@workload("random", "2,000 reads of 4 KiB at random (i2d, 1 GB)", I2D, needed=2000 * PAGE, modules=[])
def random_reads(source: Source, name: str) -> Any:
    """Read where no pattern leads."""
    descriptor = os.open(source.path(name), os.O_RDONLY)
    try:
        checksum = hashlib.sha256()
        for offset in offsets(2000, os.fstat(descriptor).st_size - PAGE):
            checksum.update(os.pread(descriptor, PAGE, offset))
        return checksum.hexdigest()
    finally:
        os.close(descriptor)


# A memory map cannot ask for less than a page.
@workload("random-map", "500 bytes at random by mmap (i2d, 1 GB)", I2D, needed=500 * PAGE, modules=[])
def random_touches(source: Source, name: str) -> Any:
    """Touch single bytes of a memory map where no pattern leads."""
    with (
        Path(source.path(name)).open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
    ):
        return bytes(mapped[offset] for offset in offsets(500, len(mapped)))


@workload("megabytes", "40 reads of 1 MiB at random (i2d, 1 GB)", I2D, needed=40 * MIB, modules=[])
def megabytes(source: Source, name: str) -> Any:
    """Read long stretches where no pattern leads."""
    descriptor = os.open(source.path(name), os.O_RDONLY)
    try:
        checksum = hashlib.sha256()
        for offset in offsets(40, os.fstat(descriptor).st_size - MIB):
            checksum.update(os.pread(descriptor, MIB, offset))
        return checksum.hexdigest()
    finally:
        os.close(descriptor)


# An aperture is 20 or 21 rows of as many pixels.
@workload(
    "apertures",
    "300 apertures at random by photutils (400 MB)",
    FIELD,
    needed=(4 + 3) * BLOCK + 300 * 21 * 21 * 4,
    modules=["astropy.io.fits", "photutils.aperture"],
)
def apertures(source: Source, name: str) -> Any:
    """Measure the stars of a list in an image, in the order of the list."""
    from astropy.io import fits
    from photutils.aperture import CircularAperture

    generator = random.Random(20260103)
    places = [(generator.uniform(20, 9980), generator.uniform(20, 9980)) for _ in range(300)]
    with fits.open(source.path(name)) as hdus:
        sums, _ = CircularAperture(places, r=10).do_photometry(hdus[1].data)
        return sums


def offsets(count: int, end: int) -> list[int]:
    """Return so many offsets below `end`, the same ones each time."""
    generator = random.Random(20260101)
    return [generator.randrange(end) for _ in range(count)]
