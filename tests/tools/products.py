"""The products of the archives: which HDUs each kind of file has, with how long headers, in which order.

The byte counts are those of real files of the Mikulski Archive; the number of pixels scales with `Sizes`.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from fitswriter import (
    Image,
    Product,
    extension_bytes,
    leave_hole,
    padded_header,
    pixels,
    wcs_cards,
    whole_blocks,
    write_product,
)

Builder = Callable[[Path, "Sizes", int], None]


@dataclass(frozen=True)
class Sizes:
    """How large the products are, in pixels and rows."""

    detector: int
    mosaic: tuple[int, int]
    drizzled: tuple[int, int]
    cube: tuple[int, int, int]
    mef_hdus: int
    mef_side: int
    compressed_hdus: int
    compressed_side: int
    tiled_side: int
    catalogue_rows: int
    roman: int
    wide: tuple[int, int] = (1000, 4000)
    cube_filled: range | None = None
    genuine: bool = True


SMALL = Sizes(
    detector=256,
    mosaic=(600, 550),
    drizzled=(848, 840),
    cube=(100, 96, 24),
    mef_hdus=100,
    mef_side=64,
    compressed_hdus=63,
    compressed_side=128,
    tiled_side=800,
    catalogue_rows=20_000,
    roman=256,
)
FULL = Sizes(
    detector=2048,
    mosaic=(6000, 5500),
    drizzled=(4240, 4200),
    cube=(500, 500, 112),
    mef_hdus=100,
    mef_side=512,
    compressed_hdus=63,
    compressed_side=1024,
    tiled_side=4000,
    catalogue_rows=1_000_000,
    roman=4088,
)
BENCH = Sizes(
    detector=2048,
    mosaic=(6000, 5500),
    drizzled=(4240, 4200),
    # Of a real camera's size, 4 GB; pixels only where the benchmark cuts.
    cube=(2136, 2078, 112),
    cube_filled=range(390, 430),
    mef_hdus=100,
    mef_side=1024,
    compressed_hdus=63,
    compressed_side=1024,
    tiled_side=4000,
    catalogue_rows=1_000_000,
    roman=4088,
    wide=(10_000, 40_000),
    genuine=False,
)


def jwst_cards(model: str, instrument: str) -> list[tuple[str, object, str]]:
    """Return the first cards of a JWST primary header."""
    return [
        ("DATE", "2026-01-01T00:00:00.000", "UTC date file created"),
        ("DATAMODL", model, "Type of data model"),
        ("TELESCOP", "JWST", "Telescope used to acquire the data"),
        ("INSTRUME", instrument, "Instrument used to acquire the data"),
    ]


def asdf_extension(size: int) -> fits.BinTableHDU:
    """Return an ASDF extension with a tree of about so many bytes of YAML, as JWST files end with."""
    lines = ["#ASDF 1.0.0", "#ASDF_STANDARD 1.6.0", "%YAML 1.1", "%TAG ! tag:stsci.edu:asdf/", "--- !core/asdf-1.1.0"]
    lines.append("pointing:")
    lines += [f"  step_{number:05}: {number * 0.25}" for number in range((size - 120) // 22)]
    tree = ("\n".join(lines) + "\n...\n").encode("ascii")
    column = fits.Column(name="ASDF_METADATA", format=f"{len(tree)}B", array=np.frombuffer(tree, np.uint8)[np.newaxis])
    return fits.BinTableHDU.from_columns([column], name="ASDF")


def header_table(rows: int, columns: int, name: str = "HDRTAB") -> fits.BinTableHDU:
    """Return a table of the headers of the exposures that were combined: few rows, very many columns."""
    values = np.arange(rows, dtype=">f8")
    return fits.BinTableHDU.from_columns(
        [
            fits.Column(name=f"KEYWORD{number:03}", format="D", unit="s", array=values + number / 1000)
            for number in range(columns)
        ],
        name=name,
    )


def rate(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a countrate image of one exposure: 7 HDUs, the header that ends the chain is in the last 20 KB."""
    write_product(path, rate_product(sizes.detector), seed)


def rate_product(side: int, filled: range | None = None) -> Product:
    """Return the layout of a countrate image."""
    shape = (side, side)
    science = wcs_cards(shape, 215.0, 52.9, 0.063)
    return Product(
        8,
        [
            Image("SCI", shape, header_blocks=3, stars=True, cards=science, filled=filled),
            Image("ERR", shape, filled=filled),
            Image("DQ", shape, ">i4", unsigned=True, filled=filled),
            Image("VAR_POISSON", shape, filled=filled),
            Image("VAR_RNOISE", shape, filled=filled),
            asdf_extension(15_000),
        ],
        jwst_cards("ImageModel", "NIRCAM"),
    )


def sparse_rate(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a countrate image with holes, for work on headers alone: 84 MB that take little disk."""
    write_product(path, rate_product(sizes.detector, filled=range(0)), seed)


def cal(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a calibrated exposure: 9 HDUs behind 478 cards."""
    shape = (sizes.detector, sizes.detector)
    floats = [Image(name, shape) for name in ("AREA", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT")]
    hdus = [
        Image("SCI", shape, header_blocks=3, stars=True, cards=wcs_cards(shape, 215.0, 52.9, 0.063)),
        Image("ERR", shape),
        Image("DQ", shape, ">i4", unsigned=True),
        *floats,
        asdf_extension(40_000),
    ]
    write_product(path, Product(14, hdus, jwst_cards("ImageModel", "NIRCAM")), seed)


def uncal(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a raw exposure: a 4-D ramp of unsigned 16-bit integers, then two tables, then another image."""
    side = sizes.detector
    groups = header_table(5, 13, "GROUP")
    times = header_table(1, 7, "INT_TIMES")
    hdus = [
        Image("SCI", (1, 5, side, side), ">i2", header_blocks=2, unsigned=True),
        groups,
        times,
        Image("ZEROFRAME", (1, side, side), ">i2", unsigned=True),
        asdf_extension(12_000),
    ]
    write_product(path, Product(7, hdus, jwst_cards("Level1bModel", "NIRCAM")), seed)


def i2d(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a mosaic: 10 HDUs, the two tables at its end are preceded by a gigabyte."""
    shape = sizes.mosaic
    # The table is 288,000 bytes long whatever the number of exposures, its header 17 blocks.
    exposures = header_table(180, 200)
    hdus = [
        Image("SCI", shape, header_blocks=3, stars=True, cards=wcs_cards(shape, 215.0, 52.9, 0.063)),
        Image("ERR", shape),
        Image("CON", (2, *shape), ">i4"),
        Image("WHT", shape),
        *(Image(name, shape) for name in ("VAR_POISSON", "VAR_RNOISE", "VAR_FLAT")),
        exposures,
        asdf_extension(260_000),
    ]
    write_product(path, Product(10, hdus, jwst_cards("ImageModel", "NIRCAM")), seed)


def s3d(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a spectral cube."""
    shape = (sizes.detector // 2, 43, 45)
    hdus = [
        Image("SCI", shape, header_blocks=3),
        Image("ERR", shape),
        Image("DQ", shape, ">i4", unsigned=True),
        Image("WMAP", shape),
        asdf_extension(20_000),
    ]
    write_product(path, Product(10, hdus, jwst_cards("IFUCubeModel", "NIRSPEC")), seed)


def x1d(path: Path, sizes: Sizes, seed: int) -> None:
    """Write extracted spectra: tables only."""
    rng = np.random.default_rng(seed)
    rows = sizes.detector
    names = ("WAVELENGTH", "FLUX", "FLUX_ERROR", "SURF_BRIGHT", "BACKGROUND", "NPIXELS")
    spectrum = fits.BinTableHDU.from_columns(
        [fits.Column(name=name, format="D", array=rng.standard_normal(rows)) for name in names], name="EXTRACT1D"
    )
    hdus = [spectrum, asdf_extension(20_000)]
    write_product(path, Product(10, hdus, jwst_cards("MultiSpecModel", "NIRSPEC")), seed)


def drc(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a drizzled HST ACS image: 5 HDUs."""
    shape = sizes.drizzled
    exposures = header_table(23, 155)
    exposures.header.extend([(f"HTAB{number:04}", number, "") for number in range(20)])
    cards = [("TELESCOP", "HST", "telescope used to acquire data"), ("INSTRUME", "ACS", "instrument")]
    hdus = [
        Image("SCI", shape, header_blocks=3, stars=True, cards=wcs_cards(shape, 150.1, 2.2)),
        Image("WHT", shape, cards=wcs_cards(shape, 150.1, 2.2)),
        Image("CTX", shape, ">i4"),
        exposures,
    ]
    write_product(path, Product(14, hdus, cards), seed)


def flc(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a calibrated HST exposure: 26 HDUs, among them some of the non-standard type HDRLET."""
    side = sizes.detector
    shapes = [(side // 2, side)] * 6 + [(64, 32)] * 19
    hdus = [
        Image(f"EXT{number:02}", shape, header_blocks=2, kind="IMAGE" if number % 5 else "HDRLET")
        for number, shape in enumerate(shapes, start=1)
    ]
    write_product(path, Product(5, hdus, [("TELESCOP", "HST", "telescope used to acquire data")]), seed)


def mef(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a mosaic camera's multi-extension file."""
    shape = (sizes.mef_side, sizes.mef_side)
    hdus = [
        Image(f"CCD{number:02}", shape, header_blocks=2, cards=wcs_cards(shape, 10 + number / 100, -30))
        for number in range(1, sizes.mef_hdus)
    ]
    write_product(path, Product(4, hdus, [("INSTRUME", "DECam", "")]), seed)


def compressed_mef(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a mosaic camera's file with each image compressed row by row: data units of irregular size."""
    with path.open("wb") as out:
        out.write(padded_header(fits.PrimaryHDU().header, 4))
        for number in range(1, sizes.compressed_hdus):
            out.write(_compressed(sizes.compressed_side, (1, sizes.compressed_side), f"S{number}", seed * 100 + number))


def tiled(path: Path, sizes: Sizes, seed: int) -> None:
    """Write one image in RICE tiles of 100 x 100 pixels."""
    with path.open("wb") as out:
        out.write(padded_header(fits.PrimaryHDU().header, 1))
        out.write(_compressed(sizes.tiled_side, (100, 100), "SCI", seed))


def packed_mef(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a compressed mosaic camera's file of real size, 543 MB that take little disk.

    Headers and descriptors are those of a compressed image of 4094 rows; the heap that they point into is a hole.
    """
    rng = np.random.default_rng(seed)
    template = packed_header((4094, 2046))
    with path.open("wb") as out:
        out.write(padded_header(fits.PrimaryHDU().header, 4))
        for number in range(1, sizes.compressed_hdus):
            # Chips differ in noise, so data units differ in length by up to 3 %; rows of a chip differ by more.
            lengths = (rng.uniform(0.97, 1.03) * rng.normal(2131, 40, 4094)).astype(np.int64)
            write_packed(out, template, f"S{number}", lengths)


def packed_header(shape: tuple[int, int]) -> fits.Header:
    """Return the header that astropy writes for an image compressed row by row."""
    hdu = fits.CompImageHDU(np.zeros(shape, np.int32), compression_type="RICE_1", tile_shape=(1, shape[1]))
    raw = io.BytesIO(padded_header(fits.PrimaryHDU().header, 1) + extension_bytes(hdu))
    with fits.open(raw, disable_image_compression=True) as hdus:
        return hdus[1].header.copy()


def write_packed(out: BinaryIO, template: fits.Header, name: str, lengths: np.ndarray) -> None:
    """Write a compressed image whose rows take so many bytes of a heap without content."""
    header = template.copy()
    header["EXTNAME"] = name
    header["NAXIS2"] = header["ZNAXIS2"] = len(lengths)
    header["PCOUNT"] = int(lengths.sum())
    header["TFORM1"] = f"1PB({lengths.max()})"
    out.write(header.tostring().encode("ascii"))
    start = out.tell()
    descriptors = np.stack([lengths, np.cumsum(lengths) - lengths], axis=1).astype(">i4")
    out.write(descriptors.tobytes())
    leave_hole(out, start + whole_blocks(descriptors.nbytes + int(lengths.sum())))


def _compressed(side: int, tile: tuple[int, int], name: str, seed: int) -> bytes:
    image = Image(name, (side, side), ">i4", stars=True)
    # Chips differ in noise, so compressed data units differ in length by a few percent.
    noise = np.random.default_rng(seed).uniform(1, 1.5)
    data = (np.concatenate(list(pixels(image, seed))) * noise).astype(np.int32)
    return extension_bytes(fits.CompImageHDU(data, name=name, compression_type="RICE_1", tile_shape=tile))


def ffi_cube(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a cube of TESS full-frame images in the order that makes one pixel's series contiguous."""
    rows, columns, frames = sizes.cube
    start, length = 1900.0, 0.0208
    cards = [
        ("ORIGIN", "STScI/MAST", ""),
        ("TELESCOP", "TESS", "telescope"),
        ("INSTRUME", "TESS Photometer", "detector type"),
        ("DATE", "2026-01-01", ""),
        ("CAMERA", 4, "Camera number"),
        ("CCD", 4, "CCD chip number"),
        ("SECTOR", 22, "Observing sector"),
        ("TSTART", start, "observation start time in TJD"),
        ("TSTOP", start + frames * length, "observation stop time in TJD"),
        ("DATE-OBS", "2020-02-19T19:34:46Z", "TSTART as UTC calendar date"),
        ("DATE-END", "2020-03-17T23:42:37Z", "TSTOP as UTC calendar date"),
        ("FFIINDEX", 11_000, "number of FFI cadence interval"),
    ]
    images = Image("FFICUBE", (rows, columns, frames, 2), filled=sizes.cube_filled)
    write_product(path, Product(4, [images, _frames_table(sizes.cube, start, length)], cards), seed)


def _frames_table(shape: tuple[int, int, int], start: float, length: float) -> fits.BinTableHDU:
    rows, columns, frames = shape
    times = start + length * np.arange(frames)
    table = [
        fits.Column(name="TSTART", format="D", array=times),
        fits.Column(name="TSTOP", format="D", array=times + length),
        fits.Column(name="BARYCORR", format="D", array=np.full(frames, 0.003)),
        fits.Column(name="DQUALITY", format="J", array=np.arange(frames) % 3),
        fits.Column(name="CAMERA", format="J", array=np.full(frames, 4)),
        fits.Column(name="CCD", format="J", array=np.full(frames, 4)),
        fits.Column(name="FFI_FILE", format="38A", array=[f"tess{n:018}-s0022-4-4_ffic.fits" for n in range(frames)]),
        fits.Column(name="WCSAXES", format="J", array=np.full(frames, 2)),
    ]
    distorted = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-7}
    projection = {key: value for key, value, _ in wcs_cards((rows, columns), 220.0, 60.0, 21.0)} | distorted
    for key, value in projection.items():
        kind = f"{len(value)}A" if isinstance(value, str) else "D"
        table.append(fits.Column(name=key, format=kind, array=[value] * frames))
    return fits.BinTableHDU.from_columns(table)


def wide(path: Path, sizes: Sizes, seed: int) -> None:
    """Write an image so wide that the rows of a cutout are far apart; it has pixels in the middle only."""
    rows, columns = sizes.wide
    filled = range(rows // 2 - rows // 50, rows // 2 + rows // 20)
    image = Image("SCI", (rows, columns), header_blocks=3, cards=wcs_cards((rows, columns), 150.1, 2.2), filled=filled)
    write_product(path, Product(4, [image]), seed)


def target_pixels(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a target pixel file: each row of the table holds small images."""
    rng = np.random.default_rng(seed)
    cadences = sizes.catalogue_rows // 20
    stamps = {"RAW_CNTS": "J", "FLUX": "E", "FLUX_ERR": "E"}
    columns = [fits.Column(name="TIME", format="D", array=1900 + np.arange(cadences) / 720)]
    for name, code in stamps.items():
        values = rng.normal(1000, 30, (cadences, 11, 11))
        columns.append(fits.Column(name=name, format=f"121{code}", dim="(11,11)", array=values))
    columns.append(fits.Column(name="QUALITY", format="J", array=rng.integers(0, 9, cadences)))
    pixel_table = fits.BinTableHDU.from_columns(columns, name="PIXELS")
    aperture = Image("APERTURE", (11, 11), ">i4")
    write_product(path, Product(2, [pixel_table, aperture], [("TELESCOP", "TESS", "")]), seed)


def catalogue(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a survey's catalogue with rows of 155 bytes."""
    rng = np.random.default_rng(seed)
    rows = sizes.catalogue_rows
    columns = [
        fits.Column(name="ID", format="K", array=np.arange(rows) + 10**12),
        fits.Column(name="RA", format="D", unit="deg", array=rng.uniform(0, 360, rows)),
        fits.Column(name="DEC", format="D", unit="deg", array=rng.uniform(-90, 90, rows)),
    ]
    columns += [
        fits.Column(name=f"MAG{number:02}", format="E", unit="mag", array=rng.normal(20, 2, rows).astype(">f4"))
        for number in range(24)
    ]
    columns += [
        fits.Column(name="NAME", format="24A", array=np.char.mod("SRC J%010d", np.arange(rows))),
        fits.Column(name="FLAGS", format="J", array=rng.integers(0, 1 << 20, rows)),
        fits.Column(name="NOBS", format="I", array=rng.integers(0, 200, rows)),
        fits.Column(name="VARIABLE", format="L", array=rng.integers(0, 2, rows).astype(bool)),
        fits.Column(name="TILE", format="4A", array=np.char.mod("T%03d", np.arange(rows) % 1000)),
    ]
    write_product(path, Product(1, [fits.BinTableHDU.from_columns(columns, name="CATALOG")]), seed)


def variable_arrays(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a table whose rows point into a heap."""
    rng = np.random.default_rng(seed)
    rows = 500
    spectra = np.empty(rows, dtype=object)
    spectra[:] = [rng.standard_normal(rng.integers(1, 200)).astype(np.float32) for _ in range(rows)]
    columns = [
        fits.Column(name="ID", format="J", array=np.arange(rows)),
        fits.Column(name="SPECTRUM", format="PE()", array=spectra),
    ]
    write_product(path, Product(1, [fits.BinTableHDU.from_columns(columns, name="SPECTRA")]), seed)


def ascii_table(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a table of text."""
    rng = np.random.default_rng(seed)
    columns = [
        fits.Column(name="STAR", format="A12", ascii=True, array=np.char.mod("HD %06d", np.arange(2000))),
        fits.Column(name="VMAG", format="F8.3", ascii=True, array=np.round(rng.normal(9, 2, 2000), 3)),
        fits.Column(name="COUNT", format="I6", ascii=True, array=rng.integers(0, 9999, 2000)),
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.TableHDU.from_columns(columns, name="STARS")]).writeto(path)


def random_groups(path: Path, sizes: Sizes, seed: int) -> None:
    """Write visibilities in the random groups format of radio interferometers."""
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((300, 1, 1, 4, 2, 3)).astype(np.float32)
    parameters = [rng.standard_normal(300).astype(np.float32) for _ in range(3)]
    groups = fits.GroupData(data, parnames=["UU", "VV", "WW"], pardata=parameters, bitpix=-32)
    fits.HDUList([fits.GroupsHDU(groups)]).writeto(path)


def scaled_integers(path: Path, sizes: Sizes, seed: int) -> None:
    """Write integers that stand for BSCALE x value + BZERO, some of them undefined."""
    rng = np.random.default_rng(seed)
    data = rng.integers(-30_000, 30_000, (400, 300)).astype(">i2")
    data[::7, ::5] = -32_768
    header = fits.Header([("BSCALE", 0.01), ("BZERO", 300.0), ("BLANK", -32_768)])
    header["EXTNAME"] = "SCALED"
    with path.open("wb") as out:
        out.write(padded_header(fits.PrimaryHDU().header, 1))
        image = fits.ImageHDU(data)
        image.header.extend(header)
        out.write(padded_header(image.header, 1))
        out.write(data.tobytes() + bytes(-data.nbytes % 2880))


def checksummed(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a file whose every HDU carries CHECKSUM and DATASUM, with CONTINUE and HIERARCH cards."""
    rng = np.random.default_rng(seed)
    header = fits.Header([("LONGSTR", "a value that is continued on further cards, " * 4)])
    header["HIERARCH ESO DET CHIP1 NAME"] = "Marlene"
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(rng.standard_normal((200, 100)).astype(np.float32), header),
            fits.ImageHDU(rng.integers(0, 255, (64, 64), dtype=np.uint8), name="MASK"),
            fits.BinTableHDU.from_columns([fits.Column(name="X", format="E", array=rng.standard_normal(99))], name="T"),
        ]
    )
    # The comment of CHECKSUM is the time of writing, unless astropy is told one.
    for hdu in hdus:
        hdu.add_checksum(when="2026-01-01T00:00:00")
    hdus.writeto(path)


def gzipped(path: Path, sizes: Sizes, seed: int) -> None:
    """Write an image compressed as a whole."""
    data = np.random.default_rng(seed).integers(0, 500, (300, 400)).astype(np.int16)
    content = gzip.compress(_single_image(data), compresslevel=6, mtime=0)
    path.write_bytes(content)


def simple_image(path: Path, sizes: Sizes, seed: int) -> None:
    """Write one image in the primary HDU."""
    path.write_bytes(_single_image(np.random.default_rng(seed).standard_normal((120, 130)).astype(np.float32)))


def truncated(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a file that ends in the middle of its data unit, as a broken download does."""
    simple_image(path, sizes, seed)
    with path.open("r+b") as file:
        file.truncate(30_000)


def trailing(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a file with bytes after its last HDU."""
    simple_image(path, sizes, seed)
    with path.open("ab") as file:
        file.write(np.random.default_rng(seed).bytes(5000))


def _single_image(data: np.ndarray) -> bytes:
    raw = data.astype(data.dtype.newbyteorder(">")).tobytes()
    return padded_header(fits.PrimaryHDU(data).header, 1) + raw + bytes(-len(raw) % 2880)
