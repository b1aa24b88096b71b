"""What the benchmark does with files, as an astronomer would write it. A workload is a function of a few lines.

`fits` opens a file, `pixels` cuts out of an image, `asdf` opens an ASDF file, `raw` opens a file as bytes, `path` gives
its path for tools that take no URL. What the function returns is hashed, and has to be the same in all systems. A slice
of a mapped image has to be copied: only that reads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sources import Source

RATE = "jwst/public/jw01783/jw01783004007/jw01783004007_02101_00004_nrcalong_rate.fits"
HEADERS = [f"jwst/public/jw01783/headers/jw01783004007_{number:05}_nrcalong_rate.fits" for number in range(100)]
I2D = "jwst/public/jw01783/L3/t/jw01783-o004_t008_nircam_clear-f444w_i2d.fits"
DRC = "hst/public/j8pu/j8pu0y010/j8pu0y010_drc.fits"
MEF = "mast/hlsp/decam/c4d_200101_010203_ooi_r_v1.fits"
PACKED = "mast/hlsp/decam/c4d_200101_010203_ooi_r_v1.fits.fz"
TILED = "mast/hlsp/decam/stack_r_v1.fits.fz"
CUBE = "tess/public/mast/tess-s0022-4-4-cube.fits"
CATALOGUE = "mast/hlsp/survey/catalogue_v1.fits"
ROMAN = "roman/public/r00/r0000101001001001001_0001_wfi01_cal.asdf"
FIRST_ROW = 500_000


@dataclass(frozen=True)
class Workload:
    """A named piece of work on files; `modules` are imported before the clock starts."""

    name: str
    title: str
    files: Sequence[str]
    run: Callable[..., Any]
    modules: Sequence[str]


WORKLOADS: dict[str, Workload] = {}


def workload(name: str, title: str, *files: str, modules: Sequence[str] = ("astropy.io.fits",)) -> Callable:
    """Register a workload, which takes a source and the names of its files."""

    def register(run: Callable[..., Any]) -> Callable[..., Any]:
        WORKLOADS[name] = Workload(name, title, files, run, modules)
        return run

    return register


@workload("last-header", "last header of 7 (rate, 84 MB)", RATE)
def last_header(source: Source, name: str) -> Any:
    """Open a file lazily and read the header at the end of the chain."""
    with source.fits(name) as hdus:
        return repr(hdus[-1].header)


@workload("info-i2d", "info() of 10 HDUs (i2d, 1 GB)", I2D)
def info_i2d(source: Source, name: str) -> Any:
    """List the HDUs of a mosaic."""
    with source.fits(name) as hdus:
        return hdus.info(output=False)


@workload("cutout", "cutout [1600:1950, 2000:2250] (drc, 214 MB)", DRC)
def cutout(source: Source, name: str) -> Any:
    """Cut a piece out of the image of a drizzled product."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[1])[1600:1950, 2000:2250].copy()


@workload("whole-hdu", "one HDU of 71 MB (drc, 214 MB)", DRC)
def whole_hdu(source: Source, name: str) -> Any:
    """Touch every pixel of one image."""
    with source.fits(name) as hdus:
        return float(source.pixels(hdus[1])[:].sum(dtype="f8"))


@workload("whole-file", "every byte of 214 MB (drc)", DRC)
def whole_file(source: Source, name: str) -> Any:
    """Read a file from its first to its last byte."""
    checksum = hashlib.sha256()
    with source.raw(name) as file:
        while chunk := file.read(1 << 20):
            checksum.update(chunk)
    return checksum.hexdigest()


@workload("info-mef", "info() of 100 HDUs (MEF, 416 MB)", MEF)
def info_mef(source: Source, name: str) -> Any:
    """List the HDUs of a mosaic camera's file."""
    with source.fits(name) as hdus:
        return hdus.info(output=False)


@workload("info-fz", "info() of 63 compressed HDUs (fz, 84 MB)", PACKED)
def info_fz(source: Source, name: str) -> Any:
    """List the HDUs of a compressed file, whose lengths are irregular."""
    with source.fits(name) as hdus:
        return hdus.info(output=False)


@workload("small-cutout", "cutout of 10 x 20 pixels, HDU 2 (drc, 214 MB)", DRC)
def small_cutout(source: Source, name: str) -> Any:
    """Cut a few pixels out of the second image."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[2])[2000:2010, 2000:2020].copy()


@workload("i2d-cutout", "cutout of 400 x 400 pixels (i2d, 1 GB)", I2D)
def i2d_cutout(source: Source, name: str) -> Any:
    """Cut a piece out of a mosaic."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[1])[3000:3400, 2500:2900].copy()


@workload("all-arrays", "all arrays, no mmap (rate, 84 MB)", RATE)
def all_arrays(source: Source, name: str) -> Any:
    """Load every array into memory."""
    with source.fits(name, memmap=False) as hdus:
        return [hdu.data.copy() for hdu in hdus[1:]]


@workload("headers", "two headers of 100 files (rate, 84 MB each)", *HEADERS)
def headers(source: Source, *names: str) -> Any:
    """Read two headers of each exposure of a program."""
    found = []
    for name in names:
        with source.fits(name) as hdus:
            found.append([repr(hdus[0].header), repr(hdus[1].header)])
    return found


@workload("pixel-series", "series of one pixel (cube, 896 MB)", CUBE)
def pixel_series(source: Source, name: str) -> Any:
    """Read one pixel at all times."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[1])[412, 308].copy()


@workload("tile-cutout", "cutout of 350 x 250 pixels from RICE tiles (20 MB)", TILED)
def tile_cutout(source: Source, name: str) -> Any:
    """Cut a piece out of a tile-compressed image."""
    with source.fits(name) as hdus:
        return hdus[1].section[1620:1970, 2040:2290].copy()


@workload("column", "one column of 1e6 rows (catalogue, 155 MB)", CATALOGUE)
def column(source: Source, name: str) -> Any:
    """Read one column of a catalogue."""
    with source.fits(name) as hdus:
        return hdus[1].data["MAG07"].copy()


@workload("cfitsio-rows", "100 rows from the middle, cfitsio (catalogue, 155 MB)", CATALOGUE, modules=["fitsio"])
def cfitsio_rows(source: Source, name: str) -> Any:
    """Read a few rows with cfitsio."""
    import fitsio

    with fitsio.FITS(source.path(name)) as hdus:
        return hdus[1][FIRST_ROW : FIRST_ROW + 100].copy()


@workload("asdf-cutout", "metadata and cutout of 400 x 400 pixels (Roman, 301 MB)", ROMAN, modules=["asdf_ready"])
def asdf_cutout(source: Source, name: str) -> Any:
    """Read a value of the metadata of an exposure, and cut a piece out of its image."""
    with source.asdf(name) as file:
        return [file["roman"]["meta"]["exposure"]["exposure_time"], file["roman"]["data"][1600:2000, 2000:2400].copy()]
