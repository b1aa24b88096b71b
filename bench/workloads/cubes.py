"""Reading cubes: series of pixels, planes, and pieces of neighbouring planes."""

from __future__ import annotations

from typing import Any

from sources import Source
from workloads.registry import BLOCK, workload

CUBE = "tess/public/mast/tess-s0023-4-4-cube.fits"
CHANNELS = "mast/hlsp/radio/channels_v1.fits"

# One pixel of the cube at 112 times: values and errors, 4 bytes each.
SERIES = 112 * 2 * 4
# The headers of the cube of channels, and one of its planes.
CHANNELS_HEADERS = (2 + 3) * BLOCK
PLANE = 640 * 640 * 4


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


@workload("plane", "one plane of 300, rows of 2.5 KB (cube, 492 MB)", CHANNELS, needed=CHANNELS_HEADERS + PLANE)
def plane(source: Source, name: str) -> Any:
    """Read a channel in the middle of a radio cube."""
    with source.fits(name) as hdus:
        return source.pixels(hdus[1])[150].copy()


@workload("planes", "5 planes of 300, one by one (cube, 492 MB)", CHANNELS, needed=CHANNELS_HEADERS + 5 * PLANE)
def planes(source: Source, name: str) -> Any:
    """Read channel after channel, from the middle of a radio cube on."""
    with source.fits(name) as hdus:
        return [source.pixels(hdus[1])[number].copy() for number in range(150, 155)]


@workload(
    "sub-planes",
    "40 x 40 pixels in each of 10 planes (cube, 492 MB)",
    CHANNELS,
    needed=CHANNELS_HEADERS + 10 * 40 * 40 * 4,
)
def sub_planes(source: Source, name: str) -> Any:
    """Read the neighbourhood of a source in neighbouring channels."""
    with source.fits(name) as hdus:
        return [source.pixels(hdus[1])[number, 300:340, 300:340].copy() for number in range(145, 155)]
