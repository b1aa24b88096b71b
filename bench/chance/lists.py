"""Cases of headers, and of lists of files in any order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from chance.case import Drawn, between, family, ordered
from workloads.headers import MEF, PACKED, UNEVEN_PACKED
from workloads.many import SPECTRA
from workloads.registry import DRC, HEADERS, I2D, MIB, RATE, UNEVEN, VISITS
from workloads.tiles import CHIPS

ZTF = [f"ipac/ztf/2026/{n:04}/ztf_2026{n:04}_000535_zr_c04_o_q1_sciimg.fits" for n in range(101, 117)]
LISTED = (MEF, PACKED, UNEVEN, UNEVEN_PACKED, I2D, DRC, RATE, *VISITS[20:22], SPECTRA[80], CHIPS[20])


@family("header listing")
def listing(rng: Random) -> Drawn:
    """List the HDUs of a file."""
    name, tool = rng.choice(LISTED), rng.choice(["astropy", "astropy, info()", "fitsio"])

    def run(root: Path) -> list[Any]:
        if tool == "fitsio":
            import fitsio

            with fitsio.FITS(str(root / name)) as hdus:
                return [str(hdu.read_header()) for hdu in hdus]
        from astropy.io import fits

        with fits.open(root / name) as hdus:
            return [hdus.info(output=False)] if "info" in tool else [repr(hdu.header) for hdu in hdus]

    return f"all headers of {name.rsplit('/', 1)[1]} by {tool}", [name], run


@family("one header")
def one_header(rng: Random) -> Drawn:
    """Read one header, known by its number, or the last."""
    name, tool, part = rng.choice(LISTED[:7]), rng.choice(["astropy", "fitsio"]), rng.choice([1.0, rng.random()])
    count = {MEF: 100, PACKED: 63, UNEVEN: 100, UNEVEN_PACKED: 61, I2D: 10, DRC: 5, RATE: 7}[name]
    number = int(part * (count - 1))

    def run(root: Path) -> list[Any]:
        if tool == "fitsio":
            import fitsio

            with fitsio.FITS(str(root / name)) as hdus:
                return [str(hdus[number].read_header())]
        from astropy.io import fits

        return [repr(fits.getheader(root / name, number))]

    return f"header {number} of {name.rsplit('/', 1)[1]} by {tool}", [name], run


def header_of(path: Path) -> list[Any]:
    """Read the first two headers."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        return [repr(hdus[0].header), repr(hdus[1].header)]


def last_of(path: Path) -> list[Any]:
    """Read the last header."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        return [repr(hdus[-1].header)]


def first_mib(path: Path) -> list[Any]:
    """Read the first MiB, as `file` does."""
    with path.open("rb", buffering=0) as file:
        return [file.read(MIB)]


def whole(path: Path) -> list[Any]:
    """Read all bytes."""
    return [path.read_bytes()]


def table(path: Path) -> list[Any]:
    """Read the first table."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        return [np.array(hdus[1].data)]


def tiled_box(path: Path) -> list[Any]:
    """Cut a box out of a compressed image."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        return [hdus[1].section[1800:2000, 1900:2150]]


def three_boxes(path: Path) -> list[Any]:
    """Cut a box out of three compressed images."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        return [hdus[number].section[1800:2000, 1900:2150] for number in (1, 2, 3)]


def plain_box(path: Path) -> list[Any]:
    """Cut a box out of an image."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        return [np.array(hdus[1].data[1200:1400, 900:1100])]


def image(path: Path) -> list[Any]:
    """Read an image whole."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        return [np.array(hdus[1].data)]


# Files of one class, how many at most, and what is done with each.
CLASSES = (
    (HEADERS, 60, (header_of, last_of, first_mib)),
    (VISITS, 30, (header_of, last_of, first_mib, tiled_box, three_boxes)),
    (CHIPS, 24, (header_of, last_of, whole, image)),
    (SPECTRA, 80, (header_of, last_of, table, whole)),
    (ZTF, 12, (header_of, first_mib, plain_box, plain_box)),
    (ZTF, 4, (whole, image)),
)


@family("list of files")
def files(rng: Random) -> Drawn:
    """Do the same with each of some files, in any order, by one thread or some."""
    names, most, actions = rng.choice(CLASSES)
    action, count, workers = rng.choice(actions), between(rng, 3, most), rng.choice([1, 1, 1, 4])
    step = rng.choice([1, 1, 2]) if 2 * count <= len(names) else 1
    start = rng.randrange(len(names) - step * (count - 1))
    order, numbers = ordered(rng, list(range(start, start + step * count, step)))
    chosen = [names[number] for number in numbers]

    def run(root: Path) -> list[Any]:
        paths = [root / name for name in chosen]
        if workers == 1:
            return [piece for path in paths for piece in action(path)]
        with ThreadPoolExecutor(workers) as pool:
            return [piece for pieces in pool.map(action, paths) for piece in pieces]

    words = f"{action.__name__} of {count} files, {order}, {workers} threads: {names[0].rsplit('/', 1)[1]}, ..."
    return words, chosen, run


@family("folder listed, then read")
def listed(rng: Random) -> Drawn:
    """List a folder, look at the size of what has a certain ending, read a little of some."""
    names, _, actions = rng.choice(CLASSES[2:4])
    action, count = rng.choice(actions[:2]), between(rng, 2, 15)
    folder, ending = names[0].rsplit("/", 1)[0], names[0].rsplit("/", 1)[1][:5]
    first = rng.randrange(len(names) - count)

    def run(root: Path) -> list[Any]:
        paths = sorted((root / folder).glob(f"{ending}*"))
        sizes = [path.stat().st_size for path in paths]
        return [sizes, *(piece for path in paths[first : first + count] for piece in action(path))]

    return f"sizes of {folder}, then {action.__name__} of {count} files", names[first : first + count], run
