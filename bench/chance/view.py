"""Ways in which programs cut pieces out of an image: by a memory map, by reads of astropy, by cfitsio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

# A memory map is what astropy does unless told otherwise, so it is drawn as often as the others together.
TOOLS = ("mmap", "mmap", "section", "fitsio")


class View(Protocol):
    """An image that can be cut."""

    shape: tuple[int, ...]

    def cut(self, *place: slice) -> np.ndarray:
        """Return a copy of a piece."""


class Astropy:
    """An image that astropy mapped, or a section of one."""

    def __init__(self, data: Any) -> None:
        """Take what is sliced."""
        self.data = data
        self.shape = tuple(data.shape)

    def cut(self, *place: slice) -> np.ndarray:
        """Return a copy of a piece."""
        return np.array(self.data[place])


class Cfitsio:
    """An image that cfitsio reads."""

    def __init__(self, hdu: Any) -> None:
        """Take an HDU of fitsio."""
        self.hdu = hdu
        self.shape = tuple(hdu.get_dims())

    def cut(self, *place: slice) -> np.ndarray:
        """Return a piece."""
        return self.hdu[place]


@contextmanager
def view(path: Path, number: int, tool: str) -> Iterator[View]:
    """Open an image of a file with one of the tools."""
    if tool == "fitsio":
        import fitsio

        with fitsio.FITS(str(path)) as hdus:
            yield Cfitsio(hdus[number])
        return
    from astropy.io import fits

    with fits.open(path) as hdus:
        yield Astropy(hdus[number].data if tool == "mmap" else hdus[number].section)


def span(length: int, fraction: float, size: int) -> slice:
    """Return so many of `length` elements, or all; a fraction of what is not taken comes before them."""
    size = min(size, length)
    start = int(fraction * (length - size))
    return slice(start, start + size)
