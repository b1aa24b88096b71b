"""Write FITS files of any size piece by piece, with headers of an exact length and pixels that are all different.

astropy writes a file from arrays in memory. The files here can be larger than memory, and what matters about them is
where each header and each data unit starts; so the headers are astropy's and the bytes are written by hand.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits

BLOCK = 2880
CHUNK_PIXELS = 1 << 20
Card = tuple[str, Any, str]


@dataclass(frozen=True)
class Image:
    """An image extension: its pixels are generated while it is written.

    `filled` names the rows along the first axis that have pixels; the others are holes in a sparse file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = ">f4"
    header_blocks: int = 1
    unsigned: bool = False
    stars: bool = False
    cards: Sequence[Card] = ()
    kind: str = "IMAGE"
    filled: range | None = None


@dataclass(frozen=True)
class Product:
    """A file: the cards of its primary header, and what follows it."""

    primary_blocks: int
    hdus: Sequence[Image | fits.BinTableHDU]
    cards: Sequence[Card] = field(default=())


def write_product(path: Path, product: Product, seed: int) -> None:
    """Write all HDUs of a product; the same seed gives the same bytes."""
    with path.open("wb") as out:
        primary = fits.PrimaryHDU().header
        primary.extend(product.cards)
        out.write(padded_header(primary, product.primary_blocks))
        for number, hdu in enumerate(product.hdus, start=1):
            if isinstance(hdu, Image):
                write_image(out, hdu, seed * 1000 + number)
            else:
                out.write(extension_bytes(hdu))


def write_image(out: BinaryIO, image: Image, seed: int) -> None:
    """Write an image extension."""
    out.write(padded_header(image_header(image), image.header_blocks))
    start = out.tell()
    row = int(np.prod(image.shape[1:])) * np.dtype(image.dtype).itemsize
    filled = range(image.shape[0]) if image.filled is None else image.filled
    out.seek(start + filled.start * row)
    for chunk in pixels(replace(image, shape=(len(filled), *image.shape[1:])), seed):
        out.write(chunk.tobytes())
    leave_hole(out, start + whole_blocks(image.shape[0] * row))


def leave_hole(out: BinaryIO, end: int) -> None:
    """Go on at this offset; what was not written before it is zero and takes no disk."""
    out.truncate(end)
    out.seek(end)


def whole_blocks(size: int) -> int:
    """Return the length of a data unit of so many bytes, padded to whole blocks."""
    return size + -size % BLOCK


def image_header(image: Image) -> fits.Header:
    """Return the header of an image extension."""
    bitpix = {"u1": 8, "i2": 16, "i4": 32, "f4": -32, "f8": -64}[image.dtype[1:]]
    header = fits.Header()
    header["XTENSION"] = (image.kind, "type of the extension")
    header["BITPIX"] = (bitpix, "array data type")
    header["NAXIS"] = len(image.shape)
    for axis, length in enumerate(reversed(image.shape), start=1):
        header[f"NAXIS{axis}"] = length
    header["PCOUNT"] = 0
    header["GCOUNT"] = 1
    header["EXTNAME"] = (image.name, "extension name")
    if image.unsigned:
        header["BSCALE"] = 1
        header["BZERO"] = 1 << (bitpix - 1)
    header.extend(image.cards)
    return header


def padded_header(header: fits.Header, blocks: int) -> bytes:
    """Return the header in exactly so many blocks: real headers are long, so filler cards make up the length."""
    cards_wanted = (blocks - 1) * BLOCK // 80 + 2
    for number in range(cards_wanted - len(header.cards)):
        header[f"KEY{number:05}"] = (round(0.1 * number, 1), "calibration value of the instrument")
    raw = header.tostring(sep="", endcard=True, padding=True).encode("ascii")
    if len(raw) != blocks * BLOCK:
        raise ValueError(f"{len(header.cards)} cards do not fit in {blocks} blocks")
    return raw


def extension_bytes(hdu: fits.BinTableHDU | fits.CompImageHDU | fits.TableHDU) -> bytes:
    """Return an extension as it stands in a file."""
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    return buffer.getvalue()[BLOCK:]


@cache
def noise() -> np.ndarray:
    """Return the random numbers all pixels are cut from: cheaper than fresh ones for each of a billion pixels."""
    return np.random.default_rng(20260101).standard_normal(4 * CHUNK_PIXELS, dtype=np.float32)


def pixels(image: Image, seed: int) -> Iterator[np.ndarray]:
    """Yield the pixels of an image in file order, in whole rows; no two chunks are equal."""
    width = image.shape[-1]
    rows = int(np.prod(image.shape[:-1]))
    step = max(1, CHUNK_PIXELS // width)
    rng = np.random.default_rng(seed)
    for number, first in enumerate(range(0, rows, step)):
        yield _chunk(image, (min(step, rows - first), width), number, rng)


def _chunk(image: Image, shape: tuple[int, int], number: int, rng: np.random.Generator) -> np.ndarray:
    offset = int(rng.integers(noise().size - shape[0] * shape[1]))
    values = noise()[offset : offset + shape[0] * shape[1]].reshape(shape) + np.float32(100 + number)
    if image.stars:
        _add_stars(values, rng)
    dtype = np.dtype(image.dtype)
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    whole = np.clip(values * 100, 0, limits.max)
    # Unsigned values are stored shifted down by BZERO.
    return (whole.astype(np.int64) + (limits.min if image.unsigned else 0)).astype(dtype)


def _add_stars(values: np.ndarray, rng: np.random.Generator) -> None:
    """Add one star per 64 x 64 pixels or so, none of them cut by the edge of the chunk."""
    radius = 6
    rows, columns = values.shape
    if min(rows, columns) <= 2 * radius:
        return
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    profile = np.exp(-(x**2 + y**2) / (2 * 1.5**2)).astype(np.float32)
    for _ in range(max(1, values.size // 4096)):
        row = int(rng.integers(radius, rows - radius))
        column = int(rng.integers(radius, columns - radius))
        stamp = np.s_[row - radius : row + radius + 1, column - radius : column + radius + 1]
        values[stamp] += np.float32(rng.uniform(50, 2000)) * profile


def wcs_cards(shape: Iterable[int], ra: float, dec: float, scale: float = 0.05) -> list[Card]:
    """Return a tangential projection with its reference pixel in the middle; scale in arc seconds a pixel."""
    rows, columns = shape
    return [
        ("CTYPE1", "RA---TAN", "right ascension, tangential projection"),
        ("CTYPE2", "DEC--TAN", "declination, tangential projection"),
        ("CUNIT1", "deg", ""),
        ("CUNIT2", "deg", ""),
        ("CRPIX1", columns / 2 + 0.5, "reference pixel"),
        ("CRPIX2", rows / 2 + 0.5, "reference pixel"),
        ("CRVAL1", ra, "[deg] at the reference pixel"),
        ("CRVAL2", dec, "[deg] at the reference pixel"),
        ("CDELT1", -scale / 3600, "[deg] per pixel"),
        ("CDELT2", scale / 3600, "[deg] per pixel"),
        ("PC1_1", 1.0, ""),
        ("PC1_2", 0.0, ""),
        ("PC2_1", 0.0, ""),
        ("PC2_2", 1.0, ""),
        ("RADESYS", "ICRS", ""),
    ]
