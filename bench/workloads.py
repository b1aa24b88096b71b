"""What the benchmark does with files, as an astronomer would write it. A workload is a function of a few lines.

`fits` opens a file, `pixels` cuts out of an image, `asdf` opens an ASDF file, `raw` opens a file as bytes, `path` gives
its path for tools that take no URL. What the function returns is hashed, and has to be the same in all systems. A slice
of a mapped image has to be copied: only that reads it.

`needed` is how many bytes of the files the result cannot do without: the headers up to the HDU (a chain is walked from
its beginning), and the pixels, rows or tiles themselves. `prepare` is done before the clock starts, on the same mount.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sources import Source

RATE = "jwst/public/jw01783/jw01783004007/jw01783004007_02101_00004_nrcalong_rate.fits"
HEADERS = [f"jwst/public/jw01783/headers/jw01783004007_{number:05}_nrcalong_rate.fits" for number in range(100)]
I2D = "jwst/public/jw01783/L3/t/jw01783-o004_t008_nircam_clear-f444w_i2d.fits"
DRC = "hst/public/j8pu/j8pu0y010/j8pu0y010_drc.fits"
MEF = "mast/hlsp/decam/c4d_200101_010203_ooi_r_v1.fits"
PACKED = "mast/hlsp/decam/c4d_200202_020304_ooi_g_v1.fits.fz"
TILED = "mast/hlsp/decam/stack_r_v1.fits.fz"
CUBE = "tess/public/mast/tess-s0023-4-4-cube.fits"
WIDE = "mast/hlsp/survey/wide_v1.fits"
CATALOGUE = "mast/hlsp/survey/catalogue_v1.fits"
ROMAN = "roman/public/r00/r0000101001001001001_0001_wfi01_cal.asdf"

# A block of a FITS file, and a page of memory, in bytes.
BLOCK = 2880
PAGE = 4096
# Blocks of the headers of a rate file, from its first to its last HDU.
RATE_HEADERS = 8 + 3 + 1 + 1 + 1 + 1 + 1
# One pixel of the cube at 112 times: values and errors, 4 bytes each.
SERIES = 112 * 2 * 4
# The tree of the ASDF file.
ROMAN_TREE = 110_000


@dataclass(frozen=True)
class Workload:
    """A named piece of work on files, and the bytes that it needs; `modules` are imported before the clock starts."""

    name: str
    title: str
    files: Sequence[str]
    run: Callable[..., Any]
    needed: int
    modules: Sequence[str]
    prepare: Callable[..., Any] | None


WORKLOADS: dict[str, Workload] = {}


def workload(
    name: str,
    title: str,
    *files: str,
    needed: int,
    modules: Sequence[str] = ("astropy.io.fits",),
    prepare: Callable[..., Any] | None = None,
) -> Callable:
    """Register a workload, which takes a source and the names of its files, as `prepare` does."""

    def register(run: Callable[..., Any]) -> Callable[..., Any]:
        WORKLOADS[name] = Workload(name, title, files, run, needed, modules, prepare)
        return run

    return register


@workload("last-header", "last header of 7 (rate, 84 MB)", RATE, needed=RATE_HEADERS * BLOCK)
def last_header(source: Source, name: str) -> Any:
    """Open a file lazily and read the header at the end of the chain."""
    with source.fits(name) as hdus:
        return repr(hdus[-1].header)


def last_header_of_first(source: Source, first: str, second: str) -> None:
    """Read the last header of the first of two files."""
    last_header(source, first)


@workload(
    "sibling-header",
    "last header of 7, after that of its neighbour (rate, 84 MB)",
    *HEADERS[:2],
    needed=RATE_HEADERS * BLOCK,
    prepare=last_header_of_first,
)
def sibling_header(source: Source, first: str, second: str) -> Any:
    """Read the last header of a file whose neighbour of the same layout was read just before."""
    return last_header(source, second)


@workload(
    "cfitsio-header", "last header of 7, cfitsio (rate, 84 MB)", RATE, needed=RATE_HEADERS * BLOCK, modules=["fitsio"]
)
def cfitsio_header(source: Source, name: str) -> Any:
    """Read the header at the end of the chain with cfitsio."""
    import fitsio

    with fitsio.FITS(source.path(name)) as hdus:
        return repr(hdus[-1].read_header())


@workload("info-i2d", "info() of 10 HDUs (i2d, 1 GB)", I2D, needed=37 * BLOCK)
def info_i2d(source: Source, name: str) -> Any:
    """List the HDUs of a mosaic."""
    with source.fits(name) as hdus:
        return hdus.info(output=False)


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


@workload("info-mef", "info() of 100 HDUs (MEF, 416 MB)", MEF, needed=(4 + 99 * 2) * BLOCK)
def info_mef(source: Source, name: str) -> Any:
    """List the HDUs of a mosaic camera's file."""
    with source.fits(name) as hdus:
        return hdus.info(output=False)


@workload("info-fz", "info() of 63 compressed HDUs (fz, 543 MB)", PACKED, needed=(4 + 62) * BLOCK)
def info_fz(source: Source, name: str) -> Any:
    """List the HDUs of a compressed file, whose lengths are irregular."""
    with source.fits(name) as hdus:
        return hdus.info(output=False)


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


@workload("headers", "two headers of 100 files (rate, 84 MB each)", *HEADERS, needed=100 * (8 + 3) * BLOCK)
def headers(source: Source, *names: str) -> Any:
    """Read two headers of each exposure of a program."""
    found = []
    for name in names:
        with source.fits(name) as hdus:
            found.append([repr(hdus[0].header), repr(hdus[1].header)])
    return found


@workload("pixel-series", "series of one pixel (cube, 4 GB)", CUBE, needed=5 * BLOCK + SERIES)
def pixel_series(source: Source, name: str) -> Any:
    """Read one pixel at all times."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[1])[412, 308].copy()


@workload("cube-cutout", "11 x 11 pixels at all times (cube, 4 GB)", CUBE, needed=5 * BLOCK + 11 * 11 * SERIES)
def cube_cutout(source: Source, name: str) -> Any:
    """Cut the neighbourhood of a star out of a cube: 11 pieces, one for each row of pixels."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[1])[400:411, 300:311].copy()


# Of the 1,600 tiles the cutout touches 4 x 3, which are 151,097 bytes long; each of those has a descriptor of 8 bytes.
@workload(
    "tile-cutout",
    "cutout of 350 x 250 pixels from RICE tiles (20 MB)",
    TILED,
    needed=2 * BLOCK + 12 * 8 + 151_097,
)
def tile_cutout(source: Source, name: str) -> Any:
    """Cut a piece out of a tile-compressed image."""
    with source.fits(name) as hdus:
        return hdus[1].section[1620:1970, 2040:2290].copy()


@workload("column", "one column of 1e6 rows (catalogue, 155 MB)", CATALOGUE, needed=4 * BLOCK + 1_000_000 * 4)
def column(source: Source, name: str) -> Any:
    """Read one column of a catalogue."""
    with source.fits(name) as hdus:
        return hdus[1].data["MAG07"].copy()


@workload(
    "cfitsio-rows",
    "3 rows of 1e6, cfitsio (catalogue, 155 MB)",
    CATALOGUE,
    needed=4 * BLOCK + 3 * 155,
    modules=["fitsio"],
)
def cfitsio_rows(source: Source, name: str) -> Any:
    """Read a few rows, far apart, with cfitsio."""
    import fitsio

    with fitsio.FITS(source.path(name)) as hdus:
        return hdus[1].read(rows=[10, 500_000, 999_990])


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


def offsets(count: int, end: int) -> list[int]:
    """Return so many offsets below `end`, the same ones each time."""
    generator = random.Random(20260101)
    return [generator.randrange(end) for _ in range(count)]


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
