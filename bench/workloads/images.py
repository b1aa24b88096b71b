"""Reading pixels of plain images: pieces of them, and whole ones."""

from __future__ import annotations

import hashlib
from typing import Any

from sources import Source
from workloads.registry import BLOCK, DRC, I2D, RATE, UNEVEN, workload

WIDE = "mast/hlsp/survey/wide_v1.fits"
NARROW = "mast/hlsp/survey/narrow_v1.fits"
ROMAN = "roman/public/r00/r0000101001001001001_0001_wfi01_cal.asdf"

# The tree of the ASDF file.
ROMAN_TREE = 110_000


@workload("cutout", "cutout [1600:1950, 2000:2250] (drc, 214 MB)", DRC, needed=17 * BLOCK + 350 * 250 * 4)
def cutout(source: Source, name: str) -> Any:
    """Cut a piece out of the image of a drizzled product."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[1])[1600:1950, 2000:2250].copy()


@workload("whole-hdu", "one HDU of 71 MB (drc, 214 MB)", DRC, needed=17 * BLOCK + 4240 * 4200 * 4)
def whole_hdu(source: Source, name: str) -> Any:
    """Touch every pixel of one image."""
    with source.fits(name) as hdus:
        return float(source.pixels(hdus[1])[:].sum(dtype="f8"))


@workload("whole-file", "every byte of 214 MB (drc)", DRC, needed=213_825_600)
def whole_file(source: Source, name: str) -> Any:
    """Read a file from its first to its last byte."""
    checksum = hashlib.sha256()
    with source.raw(name) as file:
        while chunk := file.read(1 << 20):
            checksum.update(chunk)
    return checksum.hexdigest()


@workload("small-cutout", "cutout of 10 x 20 pixels, HDU 2 (drc, 214 MB)", DRC, needed=18 * BLOCK + 10 * 20 * 4)
def small_cutout(source: Source, name: str) -> Any:
    """Cut a few pixels out of the second image."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[2])[2000:2010, 2000:2020].copy()


@workload("i2d-cutout", "cutout of 400 x 400 pixels (i2d, 1 GB)", I2D, needed=13 * BLOCK + 400 * 400 * 4)
def i2d_cutout(source: Source, name: str) -> Any:
    """Cut a piece out of a mosaic."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[1])[3000:3400, 2500:2900].copy()


@workload("wide-cutout", "cutout of 400 x 400 pixels, 40,000 wide (1.6 GB)", WIDE, needed=7 * BLOCK + 400 * 400 * 4)
def wide_cutout(source: Source, name: str) -> Any:
    """Cut a piece out of an image whose rows are 160 KB long."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[1])[5000:5400, 20000:20400].copy()


@workload("all-arrays", "all arrays, no mmap (rate, 84 MB)", RATE, needed=83_954_880)
def all_arrays(source: Source, name: str) -> Any:
    """Load every array into memory."""
    with source.fits(name, memmap=False) as hdus:
        return [hdu.data.copy() for hdu in hdus[1:]]


@workload("second-half", "second half of an image 1,000 wide (80 MB)", NARROW, needed=4 * BLOCK + 10_000 * 1000 * 4)
def second_half(source: Source, name: str) -> Any:
    """Read on from the middle of an image with short rows."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[1])[10_000:].copy()


@workload("nth-hdu", "HDU 60 of 100 of different sizes (194 MB)", UNEVEN, needed=(4 + 60 * 2) * BLOCK + 5_584_120)
def nth_hdu(source: Source, name: str) -> Any:
    """Read the image of one HDU, known by its number."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[60])[:].copy()


@workload(
    "asdf-cutout",
    "metadata and cutout of 400 x 400 pixels (Roman, 301 MB)",
    ROMAN,
    needed=ROMAN_TREE + 400 * 400 * 4,
    modules=["asdf_ready"],
)
def asdf_cutout(source: Source, name: str) -> Any:
    """Read a value of the metadata of an exposure, and cut a piece out of its image."""
    with source.asdf(name) as file:
        return [file["roman"]["meta"]["exposure"]["exposure_time"], file["roman"]["data"][1600:2000, 2000:2400].copy()]
