"""Cases of plain images of two axes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from chance.case import Drawn, between, family, ordered
from chance.view import TOOLS, View, span, view
from workloads.registry import DRC, HEADERS, I2D, RATE, UNEVEN

WORKED = 60_000_000


@dataclass(frozen=True)
class Image:
    """Where images are; `filled` is the part of their rows that is not a hole."""

    name: str
    numbers: range
    filled: tuple[float, float] = (0.0, 1.0)


IMAGES = (
    Image(DRC, range(1, 4)),
    Image(I2D, range(1, 3)),
    Image(I2D, range(4, 8)),
    Image(RATE, range(1, 3)),
    Image(UNEVEN, range(1, 100)),
    Image("mast/hlsp/decam/c4d_200101_010203_ooi_r_v1.fits", range(1, 100)),
    Image("mast/hlsp/survey/narrow_v1.fits", range(1, 2)),
    Image("mast/hlsp/survey/field_v1.fits", range(1, 2)),
    Image("mast/hlsp/survey/wide_v1.fits", range(1, 2), (0.49, 0.54)),
    Image("ipac/ztf/2026/0105/ztf_20260105_000535_zr_c04_o_q1_sciimg.fits", range(1, 2)),
)


def choose(rng: Random) -> tuple[Image, int, str, str]:
    """Draw an image: where it is, the number of its HDU, a tool, and words for them."""
    image, tool = rng.choice(IMAGES), rng.choice(TOOLS)
    number = rng.choice(image.numbers)
    return image, number, tool, f"{image.name.rsplit('/', 1)[1]}[{number}] by {tool}"


def rows_of(image: Image, shown: View) -> tuple[int, int]:
    """Return the first of the rows that have content, and their number."""
    rows = shown.shape[0]
    first = int(image.filled[0] * rows)
    return first, int(image.filled[1] * rows) - first


def shifted(piece: slice, offset: int) -> slice:
    """Return a slice further on."""
    return slice(piece.start + offset, piece.stop + offset)


@family("contiguous")
def contiguous(rng: Random) -> Drawn:
    """Read rows in one piece, from anywhere."""
    image, number, tool, words = choose(rng)
    start, part = rng.random(), rng.uniform(0.05, 1.0)

    def run(root: Path) -> list[Any]:
        with view(root / image.name, number, tool) as shown:
            first, rows = rows_of(image, shown)
            size = min(int(part * rows) + 1, WORKED // (shown.shape[1] * 4))
            return [shown.cut(shifted(span(rows, start, size), first), slice(0, shown.shape[1]))]

    return f"{part:.0%} of the rows from {start:.0%}: {words}", [image.name], run


@family("row by row")
def row_by_row(rng: Random) -> Drawn:
    """Read rows here and there, each whole."""
    image, number, tool, words = choose(rng)
    count, together = between(rng, 5, 300), rng.uniform(0.02, 1.0)
    start = rng.random()
    order, places = ordered(rng, rng.sample(range(10_000), count))

    def run(root: Path) -> list[Any]:
        with view(root / image.name, number, tool) as shown:
            first, rows = rows_of(image, shown)
            part = span(rows, start, max(count, int(together * rows)))
            size = part.stop - part.start
            lines = [first + part.start + place * size // 10_000 for place in places]
            return [shown.cut(slice(line, line + 1), slice(0, shown.shape[1])) for line in lines]

    return f"{count} rows in {together:.0%} of the image, {order}: {words}", [image.name], run


@family("column of an image")
def strip(rng: Random) -> Drawn:
    """Read some columns of many rows."""
    image, number, tool, words = choose(rng)
    width, height = between(rng, 1, 64), between(rng, 100, 1500)
    x, y = rng.random(), rng.random()

    def run(root: Path) -> list[Any]:
        with view(root / image.name, number, tool) as shown:
            first, rows = rows_of(image, shown)
            return [shown.cut(shifted(span(rows, y, height), first), span(shown.shape[1], x, width))]

    return f"{width} columns of {height} rows: {words}", [image.name], run


@family("cutouts")
def cutouts(rng: Random) -> Drawn:
    """Read boxes of an image."""
    image, number, tool, words = choose(rng)
    count, side = rng.choice([1, 1, 1, 2, 5, 10]), between(rng, 10, 600)
    places = [(rng.random(), rng.random()) for _ in range(count)]

    def run(root: Path) -> list[Any]:
        with view(root / image.name, number, tool) as shown:
            first, rows = rows_of(image, shown)
            return [shown.cut(shifted(span(rows, y, side), first), span(shown.shape[1], x, side)) for y, x in places]

    return f"{count} boxes of {side} x {side}: {words}", [image.name], run


@family("apertures")
def apertures(rng: Random) -> Drawn:
    """Read stamps around stars: anywhere, in a cluster, or in the order of their rows."""
    image, number, tool, words = choose(rng)
    count, side = between(rng, 30, 300), between(rng, 5, 41)
    spread = rng.choice([1.0, 1.0, 0.2, 0.05])
    where = rng.choice(["as listed", "by row"])
    middle = rng.random(), rng.random()
    places = [tuple(m + spread * (rng.random() - m) for m in middle) for _ in range(count)]
    if where == "by row":
        places.sort()

    def run(root: Path) -> list[Any]:
        with view(root / image.name, number, tool) as shown:
            first, rows = rows_of(image, shown)
            return [shown.cut(shifted(span(rows, y, side), first), span(shown.shape[1], x, side)) for y, x in places]

    return f"{count} stamps of {side} x {side} in {spread:.0%}, {where}: {words}", [image.name], run


@family("points")
def points(rng: Random) -> Drawn:
    """Read single pixels, as a query of many positions does."""
    image, number, tool, words = choose(rng)
    count = between(rng, 20, 400)
    places = [(rng.random(), rng.random()) for _ in range(count)]

    def run(root: Path) -> list[Any]:
        with view(root / image.name, number, tool) as shown:
            first, rows = rows_of(image, shown)
            return [shown.cut(shifted(span(rows, y, 1), first), span(shown.shape[1], x, 1)) for y, x in places]

    return f"{count} pixels: {words}", [image.name], run


@family("decimated")
def decimated(rng: Random) -> Drawn:
    """Read every so many pixels of every so many rows, as a preview does."""
    image, number, _, _ = choose(rng)
    step = rng.choice([4, 8, 10, 16, 32, 64, 100])

    def run(root: Path) -> list[Any]:
        with view(root / image.name, number, "mmap") as shown:
            first, rows = rows_of(image, shown)
            # A preview of a huge image is taken from a part of it here: a case is to take seconds.
            rows = min(rows, step * max(20, WORKED // (shown.shape[1] * 4)))
            return [shown.cut(slice(first, first + rows, step), slice(0, shown.shape[1], step))]

    return f"[::{step}, ::{step}] of {image.name.rsplit('/', 1)[1]}[{number}] by mmap", [image.name], run


@family("rows backward")
def backward(rng: Random) -> Drawn:
    """Read an image in strips, from its last rows to its first, as a display with its origin at the top does."""
    image, number, tool, words = choose(rng)
    strip_rows, start = between(rng, 1, 200), rng.random()

    def run(root: Path) -> list[Any]:
        with view(root / image.name, number, tool) as shown:
            first, rows = rows_of(image, shown)
            part = span(rows, start, WORKED // 3 // (shown.shape[1] * 4))
            edges = range(first + part.stop, first + part.start, -strip_rows)
            columns = slice(0, shown.shape[1])
            return [shown.cut(slice(max(first + part.start, edge - strip_rows), edge), columns) for edge in edges]

    return f"strips of {strip_rows} rows, backward: {words}", [image.name], run


@family("one HDU by number")
def by_number(rng: Random) -> Drawn:
    """Read an image whole, known by its number."""
    names = {UNEVEN: 100, "mast/hlsp/decam/c4d_200101_010203_ooi_r_v1.fits": 100, RATE: 6, HEADERS[3]: 6}
    name = rng.choice(list(names))
    number, tool = rng.randrange(1, names[name]), rng.choice(TOOLS)

    def run(root: Path) -> list[Any]:
        with view(root / name, number, tool) as shown:
            return [shown.cut(*(slice(0, length) for length in shown.shape))]

    return f"all of {name.rsplit('/', 1)[1]}[{number}] by {tool}", [name], run
