"""Products that only random cases of the benchmark read: layouts that no other workload has."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from astropy.io import fits

from fitswriter import Image, Product, padded_header, pixels, wcs_cards, whole_blocks, write_product
from products import Sizes, jwst_cards


def spectral_cube(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a cube of an integral-field spectrograph with its variance: 900 wavelengths, 108 MB each."""
    shape = (900, 150, 200)
    hdus = [Image("DATA", shape, header_blocks=4, stars=True), Image("STAT", shape)]
    write_product(path, Product(20, hdus, [("INSTRUME", "MUSE", "instrument")]), seed)


def stokes_cube(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a radio cube in the primary HDU, with an axis of length 1 for polarization: 105 MB."""
    shape = (1, 400, 256, 256)
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 4)])
    for axis, length in enumerate(reversed(shape), start=1):
        header[f"NAXIS{axis}"] = length
    header["BUNIT"] = "JY/BEAM"
    header.extend(wcs_cards((256, 256), 83.6, 22.0))
    with path.open("wb") as out:
        out.write(padded_header(header, 6))
        start = out.tell()
        for chunk in pixels(Image("", shape), seed):
            out.write(chunk.tobytes())
        out.truncate(start + whole_blocks(out.tell() - start))


def ramp(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a raw exposure: 5 groups of unsigned 16-bit integers, 42 MB."""
    science = Image("SCI", (1, 5, 2048, 2048), ">i2", header_blocks=2, unsigned=True)
    zero = Image("ZEROFRAME", (1, 2048, 2048), ">i2", unsigned=True)
    write_product(path, Product(7, [science, zero], jwst_cards("Level1bModel", "NIRCAM")), seed)


def chip(path: Path, sizes: Sizes, seed: int) -> None:
    """Write an exposure of a survey camera as 16-bit integers: 19 MB."""
    shape = (3080, 3072)
    image = Image("SCI", shape, ">i2", header_blocks=2, stars=True, cards=wcs_cards(shape, 10.0, 40.0))
    write_product(path, Product(2, [image]), seed)


def events(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a list of 4 million photons, 26 bytes each, and the intervals of good time."""
    rng = np.random.default_rng(seed)
    rows = 4_000_000
    columns = [
        fits.Column(name="TIME", format="D", unit="s", array=np.sort(rng.uniform(0, 1e5, rows))),
        fits.Column(name="X", format="E", array=rng.normal(4096, 500, rows).astype(">f4")),
        fits.Column(name="Y", format="E", array=rng.normal(4096, 500, rows).astype(">f4")),
        fits.Column(name="PHA", format="J", array=rng.integers(0, 4096, rows)),
        fits.Column(name="PI", format="J", array=rng.integers(0, 1024, rows)),
        fits.Column(name="CCD_ID", format="I", array=rng.integers(0, 10, rows)),
    ]
    good = fits.BinTableHDU.from_columns([fits.Column(name="START", format="D", array=np.arange(20.0))], name="GTI")
    write_product(path, Product(3, [fits.BinTableHDU.from_columns(columns, name="EVENTS"), good]), seed)


def stamps(path: Path, sizes: Sizes, seed: int) -> None:
    """Write the pixels around a star at 40,000 times: a table with an image of 11 x 11 pixels in each row, 58 MB."""
    rng = np.random.default_rng(seed)
    rows = 40_000
    columns = [fits.Column(name="TIME", format="D", array=1900 + np.arange(rows) / 720)]
    for name, code in {"RAW_CNTS": "J", "FLUX": "E", "FLUX_ERR": "E"}.items():
        values = rng.normal(1000, 30, (rows, 11, 11)).astype(np.float32)
        columns.append(fits.Column(name=name, format=f"121{code}", dim="(11,11)", array=values))
    columns.append(fits.Column(name="QUALITY", format="J", array=rng.integers(0, 9, rows)))
    aperture = Image("APERTURE", (11, 11), ">i4")
    table = fits.BinTableHDU.from_columns(columns, name="PIXELS")
    write_product(path, Product(2, [table, aperture], [("TELESCOP", "TESS", "")]), seed)


def sky_map(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a map of the sky, 3 million pixels in rows of 1,024: three columns, 38 MB."""
    rng = np.random.default_rng(seed)
    columns = [
        fits.Column(name=name, format="1024E", array=rng.standard_normal((3072, 1024), dtype=np.float32))
        for name in ("I_STOKES", "Q_STOKES", "U_STOKES")
    ]
    table = fits.BinTableHDU.from_columns(columns, name="FREQ-MAP")
    table.header["PIXTYPE"] = "HEALPIX"
    write_product(path, Product(1, [table]), seed)


def packed_whole(path: Path, sizes: Sizes, seed: int) -> None:
    """Write an image compressed as a whole: 20 MB that can only be read in order."""
    shape = (3000, 3000)
    data = np.concatenate(list(pixels(Image("", shape, ">i2"), seed)))
    raw = padded_header(fits.PrimaryHDU(data).header, 2) + data.astype(">i2").tobytes()
    path.write_bytes(gzip.compress(raw + bytes(-len(raw) % 2880), compresslevel=1, mtime=0))


def opaque(path: Path, sizes: Sizes, seed: int) -> None:
    """Write bytes without a structure that is known here, as Parquet and HDF5 files are: 60 MB."""
    path.write_bytes(np.random.default_rng(seed).bytes(60_000_000))
