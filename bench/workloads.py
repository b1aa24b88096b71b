"""What the benchmark does with files, as an astronomer would write it. A workload is a function of a few lines.

`fits` opens a file, `pixels` cuts out of an image, `raw` opens a file as bytes, `path` gives its path for tools that
take no URL. Whatever the function returns is hashed, and has to be the same in all systems.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sources import Source

RATE = "jwst/public/jw01783/jw01783004007/jw01783004007_02101_00004_nrcalong_rate.fits"
HEADERS = "jwst/public/jw01783/headers/jw01783004007_{:05}_nrcalong_rate.fits"
I2D = "jwst/public/jw01783/L3/t/jw01783-o004_t008_nircam_clear-f444w_i2d.fits"
DRC = "hst/public/j8pu/j8pu0y010/j8pu0y010_drc.fits"
MEF = "mast/hlsp/decam/c4d_200101_010203_ooi_r_v1.fits"
PACKED = "mast/hlsp/decam/c4d_200101_010203_ooi_r_v1.fits.fz"
TILED = "mast/hlsp/decam/stack_r_v1.fits.fz"
CUBE = "tess/public/mast/tess-s0022-4-4-cube.fits"
CATALOGUE = "mast/hlsp/survey/catalogue_v1.fits"
FIRST_ROW = 500_000


@dataclass(frozen=True)
class Workload:
    """A named piece of work; `modules` are imported before the clock starts."""

    name: str
    title: str
    run: Callable[[Source], Any]
    modules: tuple[str, ...] = ("astropy.io.fits",)


WORKLOADS: dict[str, Workload] = {}


def workload(name: str, title: str, *modules: str) -> Callable:
    """Register a workload."""

    def register(run: Callable[[Source], Any]) -> Callable[[Source], Any]:
        WORKLOADS[name] = Workload(name, title, run, ("astropy.io.fits", "numpy", *modules))
        return run

    return register


@workload("last-header", "last header of 7 (rate, 84 MB)")
def last_header(source: Source) -> Any:
    """Open a file lazily and read the header at the end of the chain."""
    with source.fits(RATE) as hdus:
        return repr(hdus[-1].header)


@workload("info-i2d", "info() of 10 HDUs (i2d, 1 GB)")
def info_i2d(source: Source) -> Any:
    """List the HDUs of a mosaic."""
    with source.fits(I2D) as hdus:
        return hdus.info(output=False)


@workload("cutout", "cutout [1600:1950, 2000:2250] (drc, 214 MB)")
def cutout(source: Source) -> Any:
    """Cut a piece out of the image of a drizzled product."""
    with source.fits(DRC) as hdus:
        return source.pixels(hdus[1])[1600:1950, 2000:2250].tobytes()


@workload("whole-hdu", "one HDU of 71 MB (drc, 214 MB)")
def whole_hdu(source: Source) -> Any:
    """Touch every pixel of one image."""
    with source.fits(DRC) as hdus:
        return float(source.pixels(hdus[1])[:].sum(dtype="f8"))


@workload("whole-file", "every byte of 214 MB (drc)")
def whole_file(source: Source) -> Any:
    """Read a file from its first to its last byte."""
    checksum = hashlib.sha256()
    with source.raw(DRC) as file:
        while chunk := file.read(1 << 20):
            checksum.update(chunk)
    return checksum.hexdigest()


@workload("info-mef", "info() of 100 HDUs (MEF, 416 MB)")
def info_mef(source: Source) -> Any:
    """List the HDUs of a mosaic camera's file."""
    with source.fits(MEF) as hdus:
        return hdus.info(output=False)


@workload("info-fz", "info() of 63 compressed HDUs (fz, 84 MB)")
def info_fz(source: Source) -> Any:
    """List the HDUs of a compressed file, whose lengths are irregular."""
    with source.fits(PACKED) as hdus:
        return hdus.info(output=False)


@workload("small-cutout", "cutout of 10 x 20 pixels, HDU 2 (drc, 214 MB)")
def small_cutout(source: Source) -> Any:
    """Cut a few pixels out of the second image."""
    with source.fits(DRC) as hdus:
        return source.pixels(hdus[2])[2000:2010, 2000:2020].tobytes()


@workload("i2d-cutout", "cutout of 400 x 400 pixels (i2d, 1 GB)")
def i2d_cutout(source: Source) -> Any:
    """Cut a piece out of a mosaic."""
    with source.fits(I2D) as hdus:
        return source.pixels(hdus[1])[3000:3400, 2500:2900].tobytes()


@workload("all-arrays", "all arrays, no mmap (rate, 84 MB)")
def all_arrays(source: Source) -> Any:
    """Load every array into memory."""
    with source.fits(RATE, memmap=False) as hdus:
        return [hdu.data.tobytes() for hdu in hdus[1:]]


@workload("headers", "SCI headers of 100 files (rate, 84 MB each)")
def headers(source: Source) -> Any:
    """Read two headers of each exposure of a program."""
    found = []
    for number in range(100):
        with source.fits(HEADERS.format(number)) as hdus:
            found.append([repr(hdus[0].header), repr(hdus[1].header)])
    return found


@workload("pixel-series", "series of one pixel (cube, 896 MB)")
def pixel_series(source: Source) -> Any:
    """Read one pixel at all times."""
    with source.fits(CUBE) as hdus:
        return source.pixels(hdus[1])[412, 308].tobytes()


@workload("tile-cutout", "cutout of 350 x 250 pixels from RICE tiles (20 MB)")
def tile_cutout(source: Source) -> Any:
    """Cut a piece out of a tile-compressed image."""
    with source.fits(TILED) as hdus:
        return hdus[1].section[1620:1970, 2040:2290].tobytes()


@workload("column", "one column of 1e6 rows (catalogue, 155 MB)")
def column(source: Source) -> Any:
    """Read one column of a catalogue."""
    with source.fits(CATALOGUE) as hdus:
        return hdus[1].data["MAG07"].tobytes()


@workload("cfitsio-rows", "100 rows from the middle, cfitsio (catalogue, 155 MB)", "fitsio")
def cfitsio_rows(source: Source) -> Any:
    """Read a few rows with cfitsio."""
    import fitsio

    with fitsio.FITS(source.path(CATALOGUE)) as hdus:
        return hdus[1][FIRST_ROW : FIRST_ROW + 100].tobytes()
