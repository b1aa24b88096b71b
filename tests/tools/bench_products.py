"""Products that only the benchmark reads: the shapes of files on which access by guesswork is slow.

They are large where the size matters and holes where nobody looks, so that they take little time and disk to make.
"""

from __future__ import annotations

import io
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
from products import Sizes, asdf_extension, packed_header, write_packed

# Tiles of a Rubin image: their side, their number along an axis, and those that have content.
TILE = 256
TILES = 16
FILLED = range(6, 10)


def channels(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a radio cube, frequency slowest: 300 planes of 640 rows of 2,560 bytes, 492 MB."""
    cube = Image("SCI", (300, 640, 640), header_blocks=3, cards=wcs_cards((640, 640), 83.6, 22.0))
    write_product(path, Product(2, [cube]), seed)


def narrow(path: Path, sizes: Sizes, seed: int) -> None:
    """Write an image with rows of 1,000 floats: 80 MB."""
    shape = (20_000, 1_000)
    image = Image("SCI", shape, header_blocks=2, cards=wcs_cards(shape, 150.1, 2.2))
    write_product(path, Product(2, [image]), seed)


def field(path: Path, sizes: Sizes, seed: int) -> None:
    """Write an image of a field of stars: 10,000 x 10,000 floats, 400 MB."""
    shape = (10_000, 10_000)
    image = Image("SCI", shape, header_blocks=3, cards=wcs_cards(shape, 150.1, 2.2))
    write_product(path, Product(4, [image]), seed)


def heap(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a table of 10,000 spectra of different lengths: rows of 9 MB in all, then a heap of 120 MB."""
    rng = np.random.default_rng(seed)
    rows = 10_000
    ends = np.cumsum(rng.integers(1800, 4200, rows))
    values = rng.standard_normal(ends[-1], dtype=np.float32).astype(">f4")
    spectra = np.empty(rows, dtype=object)
    spectra[:] = np.split(values, ends[:-1])
    columns = [
        fits.Column(name="ID", format="K", array=np.arange(rows)),
        fits.Column(name="FIT", format="220E", array=rng.standard_normal((rows, 220), dtype=np.float32)),
        fits.Column(name="SPECTRUM", format="PE()", array=spectra),
    ]
    write_product(path, Product(1, [fits.BinTableHDU.from_columns(columns, name="SPECTRA")]), seed)


def uneven_mef(path: Path, sizes: Sizes, seed: int) -> None:
    """Write 99 images whose sizes differ, 0.1 to 7 MB."""
    rng = np.random.default_rng(seed)
    shapes = [(int(rng.integers(100, 1400)), int(rng.integers(200, 1400))) for _ in range(99)]
    hdus = [
        Image(f"CUT{number:02}", shape, header_blocks=2, cards=wcs_cards(shape, 10 + number / 100, -30))
        for number, shape in enumerate(shapes, start=1)
    ]
    write_product(path, Product(4, hdus), seed)


def uneven_packed(path: Path, sizes: Sizes, seed: int) -> None:
    """Write the headers and descriptors of 60 compressed images whose sizes differ, 0.4 to 9 MB; heaps are holes."""
    rng = np.random.default_rng(seed)
    template = packed_header((4094, 2046))
    with path.open("wb") as out:
        out.write(padded_header(fits.PrimaryHDU().header, 4))
        for number in range(1, 61):
            rows = int(rng.integers(200, 4000))
            write_packed(out, template, f"S{number}", rng.normal(2131, 40, rows).astype(np.int64))


def rice(path: Path, sizes: Sizes, seed: int) -> None:
    """Write an exposure of four chips, each compressed row by row: 6 MB."""
    with path.open("wb") as out:
        out.write(padded_header(fits.PrimaryHDU().header, 3))
        for number in range(1, 5):
            image = Image(f"S{number}", (1024, 1024), ">i4", stars=True)
            data = np.concatenate(list(pixels(image, seed * 10 + number)))
            hdu = fits.CompImageHDU(data, name=image.name, compression_type="RICE_1", tile_shape=(1, 1024))
            out.write(extension_bytes(hdu))


def visit(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a Rubin image: IMAGE, MASK and VARIANCE in tiles, then tables; only tiles in the middle have content."""
    with path.open("wb") as out:
        out.write(padded_header(fits.PrimaryHDU().header, 6))
        write_tiles(out, "IMAGE", "RICE_1", seed * 10 + 1)
        write_tiles(out, "MASK", "GZIP_2", seed * 10 + 2)
        write_tiles(out, "VARIANCE", "RICE_1", seed * 10 + 3)
        out.write(extension_bytes(asdf_extension(30_000)))


def write_tiles(out: BinaryIO, name: str, compression: str, seed: int) -> None:
    """Write a compressed image of 16 x 16 tiles, of which 4 x 4 in the middle have content."""
    table, header = compressed_middle(name, compression, seed)
    rng = np.random.default_rng(seed)
    mean = sum(map(len, table)) / len(table)
    lengths = rng.normal(mean, mean / 20, TILES * TILES).astype(np.int64)
    places = [row * TILES + column for row in FILLED for column in FILLED]
    for place, tile in zip(places, table, strict=True):
        lengths[place] = len(tile)
    header["ZNAXIS1"] = header["ZNAXIS2"] = TILES * TILE
    header["NAXIS2"] = len(lengths)
    header["PCOUNT"] = int(lengths.sum())
    header["TFORM1"] = f"1PB({lengths.max()})"
    out.write(header.tostring().encode("ascii"))
    start = out.tell()
    offsets = np.cumsum(lengths) - lengths
    descriptors = np.stack([lengths, offsets], axis=1).astype(">i4")
    out.write(descriptors.tobytes())
    for place, tile in zip(places, table, strict=True):
        out.seek(start + descriptors.nbytes + int(offsets[place]))
        out.write(tile)
    leave_hole(out, start + whole_blocks(descriptors.nbytes + int(lengths.sum())))


def compressed_middle(name: str, compression: str, seed: int) -> tuple[list[bytes], fits.Header]:
    """Return the compressed tiles that have content, and the header of an image of them alone."""
    side = len(FILLED) * TILE
    data = np.concatenate(list(pixels(Image(name, (side, side), ">i4", stars=True), seed)))
    if name == "MASK":
        # Two planes of flags: one set in one pixel of 20, one in the bright ones.
        data = (data > 10_165).astype(np.int32) + 32 * (data > 10_500).astype(np.int32)
    hdu = fits.CompImageHDU(data, name=name, compression_type=compression, tile_shape=(TILE, TILE))
    raw = io.BytesIO(padded_header(fits.PrimaryHDU().header, 1) + extension_bytes(hdu))
    with fits.open(raw, disable_image_compression=True) as hdus:
        return [np.asarray(row).tobytes() for row in hdus[1].data["COMPRESSED_DATA"]], hdus[1].header.copy()


def spectrum(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a spectrum of the SDSS, 0.3 to 0.9 MB: the sum of the exposures, what is known of it, and each of them."""
    rng = np.random.default_rng(seed)
    hdus = [spectrum_table(rng, int(rng.integers(3800, 4700)), "COADD")]
    known = [fits.Column(name=f"VALUE{number:03}", format="D", array=[number + 0.5]) for number in range(120)]
    hdus.append(fits.BinTableHDU.from_columns(known, name="SPECOBJ"))
    hdus += [
        spectrum_table(rng, int(rng.integers(2000, 4200)), f"B1-{number:08}") for number in range(rng.integers(2, 9))
    ]
    write_product(path, Product(3, hdus, [("TELESCOP", "SDSS 2.5-M", "Sloan Digital Sky Survey")]), seed)


def spectrum_table(rng: np.random.Generator, rows: int, name: str) -> fits.BinTableHDU:
    """Return a table of a spectrum, 32 bytes a row."""
    columns = [
        fits.Column(name=column, format="E", array=rng.standard_normal(rows, dtype=np.float32))
        for column in ("FLUX", "LOGLAM", "IVAR", "WDISP", "SKY", "MODEL")
    ]
    columns += [
        fits.Column(name=column, format="J", array=rng.integers(0, 1 << 20, rows)) for column in ("AND_MASK", "OR_MASK")
    ]
    return fits.BinTableHDU.from_columns(columns, name=name)
