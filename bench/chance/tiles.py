"""Cases of tile-compressed images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from chance.case import Drawn, between, family
from chance.view import span, view
from workloads.registry import VISITS
from workloads.tiles import CHIPS, TILED


@dataclass(frozen=True)
class Tiled:
    """Where compressed images are: their side in pixels, and the part of either axis that has content."""

    name: str
    numbers: range
    side: int
    filled: tuple[float, float] = (0.0, 1.0)


IMAGES = (
    Tiled(TILED, range(1, 2), 4000),
    *(Tiled(name, range(1, 4), 4096, (0.375, 0.625)) for name in VISITS[10:13]),
    *(Tiled(name, range(1, 5), 1024) for name in CHIPS[5:7]),
)


@family("tiled cutouts")
def cutouts(rng: Random) -> Drawn:
    """Read boxes of compressed images: one or some, of one HDU or all."""
    image = rng.choice(IMAGES)
    numbers = rng.choice([[rng.choice(image.numbers)], list(image.numbers)])
    tool = rng.choice(["section", "section", "fitsio"])
    count, side = rng.choice([1, 1, 2, 5, 20]), between(rng, 10, 700)
    places = [(rng.random(), rng.random()) for _ in range(count)]
    low, high = (int(image.side * edge) for edge in image.filled)

    def run(root: Path) -> list[Any]:
        found = []
        for number in numbers:
            with view(root / image.name, number, tool) as shown:
                for y, x in places:
                    rows, columns = span(high - low, y, side), span(high - low, x, side)
                    found.append(
                        shown.cut(
                            slice(rows.start + low, rows.stop + low), slice(columns.start + low, columns.stop + low)
                        )
                    )
        return found

    words = f"{image.name.rsplit('/', 1)[1]}{numbers} by {tool}"
    return f"{count} boxes of {side} x {side} from tiles: {words}", [image.name], run


@family("tiled image whole")
def whole(rng: Random) -> Drawn:
    """Decode a compressed image."""
    image = rng.choice([image for image in IMAGES if image.filled == (0.0, 1.0)])
    number, tool = rng.choice(image.numbers), rng.choice(["section", "fitsio"])

    def run(root: Path) -> list[Any]:
        with view(root / image.name, number, tool) as shown:
            return [shown.cut(slice(0, image.side), slice(0, image.side))]

    return f"all of {image.name.rsplit('/', 1)[1]}[{number}] by {tool}", [image.name], run
