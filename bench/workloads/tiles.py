"""Reading pieces of tile-compressed images."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sources import Source
from workloads.registry import BLOCK, VISITS, workload

TILED = "mast/hlsp/decam/stack_r_v1.fits.fz"
CHIPS = [f"mast/hlsp/chips/c4d_2003{number:02}_ooi_r_v1.fits.fz" for number in range(40)]

# Of the 256 tiles of a plane the box touches 2 x 2, each with a descriptor of 8 bytes.
BOX = slice(1620, 1970), slice(2040, 2290)
BOX_DESCRIPTORS = 4 * 8


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


# The tiles of the three planes are 656,829 bytes long in the mean.
@workload(
    "boxes",
    "one box in three tiled planes of 4 files (41 MB each)",
    *VISITS[:4],
    needed=4 * ((6 + 1 + 1 + 1) * BLOCK + 3 * BOX_DESCRIPTORS + 656_000),
)
def boxes(source: Source, *names: str) -> Any:
    """Cut the same box out of image, mask and variance of some visits."""
    return [plane for name in names for plane in box(source, name, 1, 2, 3)]


# The tiles of the 40 images are 12,754,984 bytes long.
@workload(
    "own-folders",
    "the same tiled cutout from 40 files in folders of their own (41 MB each)",
    *VISITS,
    needed=40 * ((6 + 1) * BLOCK + BOX_DESCRIPTORS) + 12_754_984,
)
def own_folders(source: Source, *names: str) -> Any:
    """Cut the same box out of the image of many visits."""
    return [plane for name in names for plane in box(source, name, 1)]


def box(source: Source, name: str, *numbers: int) -> Iterator[Any]:
    """Yield the box of some HDUs of a file."""
    with source.fits(name) as hdus:
        for number in numbers:
            yield hdus[number].section[BOX].copy()


# The compressed rows and descriptors of the second chip are 1.29 MB long.
@workload(
    "rice-files",
    "one RICE image of 4 from 40 files, 4 threads (5 MB each)",
    *CHIPS,
    needed=40 * (3 + 1 + 1) * BLOCK + 51_494_482,
)
def rice_files(source: Source, *names: str) -> Any:
    """Decode the same chip of many exposures, four at a time."""

    def chip(name: str) -> Any:
        with source.fits(name) as hdus:
            return hdus[2].data.copy()

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(chip, names))
