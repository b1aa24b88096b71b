"""Reading headers, one or many, and nothing else."""

from __future__ import annotations

from typing import Any

from sources import Source
from workloads.registry import BLOCK, HEADERS, I2D, RATE, UNEVEN, workload

MEF = "mast/hlsp/decam/c4d_200101_010203_ooi_r_v1.fits"
PACKED = "mast/hlsp/decam/c4d_200202_020304_ooi_g_v1.fits.fz"
UNEVEN_PACKED = "mast/hlsp/decam/cutouts_v1.fits.fz"

# Blocks of the headers of a rate file, from its first to its last HDU.
RATE_HEADERS = 8 + 3 + 1 + 1 + 1 + 1 + 1


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


@workload("info-uneven", "info() of 100 HDUs of different sizes (194 MB)", UNEVEN, needed=(4 + 99 * 2) * BLOCK)
def info_uneven(source: Source, name: str) -> Any:
    """List HDUs whose sizes say nothing of the next one."""
    with source.fits(name) as hdus:
        return hdus.info(output=False)


@workload(
    "info-uneven-fz", "info() of 61 compressed HDUs of different sizes (270 MB)", UNEVEN_PACKED, needed=(4 + 60) * BLOCK
)
def info_uneven_fz(source: Source, name: str) -> Any:
    """List compressed HDUs whose sizes say nothing of the next one."""
    with source.fits(name) as hdus:
        return hdus.info(output=False)


@workload("headers", "two headers of 100 files (rate, 84 MB each)", *HEADERS, needed=100 * (8 + 3) * BLOCK)
def headers(source: Source, *names: str) -> Any:
    """Read two headers of each exposure of a program."""
    found = []
    for name in names:
        with source.fits(name) as hdus:
            found.append([repr(hdus[0].header), repr(hdus[1].header)])
    return found
