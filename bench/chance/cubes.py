"""Cases of images of three and four axes, in any orientation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from chance.case import Drawn, between, family, ordered
from chance.view import TOOLS, View, span, view
from workloads.cubes import CHANNELS, CUBE

# Pixels of a case, and pieces that are apart in the file.
WORKED = 12_000_000
PIECES = 400


@dataclass(frozen=True)
class Cube:
    """Where a cube is; `filled` is the part of its first axis that is not a hole."""

    name: str
    number: int
    filled: tuple[float, float] = (0.0, 1.0)


CUBES = (
    Cube(CHANNELS, 1),
    Cube(CUBE, 1, (0.183, 0.2)),
    Cube("eso/muse/cube_v1.fits", 1),
    Cube("eso/muse/cube_v1.fits", 2),
    Cube("mast/hlsp/radio/stokes_v1.fits", 0),
    Cube("jwst/public/jw01783/jw01783004007/jw01783004007_02101_00004_nrcalong_uncal.fits", 1),
)


class Solid:
    """A cube without its axes of length 1: three axes, or four."""

    def __init__(self, cube: Cube, shown: View) -> None:
        """Take the view of a cube."""
        self.cut_all = shown.cut
        self.dropped = 1 if shown.shape[0] == 1 else 0
        self.shape = shown.shape[self.dropped :]
        self.first = int(cube.filled[0] * self.shape[0])
        self.length = int(cube.filled[1] * self.shape[0]) - self.first

    def cut(self, *place: slice) -> np.ndarray:
        """Return a piece: slices of the first axes, from what is filled of the first on, and the others whole."""
        first = slice(place[0].start + self.first, place[0].stop + self.first)
        others = (slice(0, length) for length in self.shape[len(place) :])
        return self.cut_all(*[slice(0, 1)] * self.dropped, first, *place[1:], *others)


def choose(rng: Random) -> tuple[Cube, str, str]:
    """Draw a cube, a tool, and words for them."""
    cube, tool = rng.choice(CUBES), rng.choice(TOOLS)
    # Scaled integers cannot be mapped.
    tool = "section" if "uncal" in cube.name and tool == "mmap" else tool
    return cube, tool, f"{cube.name.rsplit('/', 1)[1]}[{cube.number}] by {tool}"


@family("planes")
def planes(rng: Random) -> Drawn:
    """Read planes across the first axis: neighbours, every so many, or any."""
    cube, tool, words = choose(rng)
    count, step, start = between(rng, 1, 20), rng.choice([1, 1, 1, 2, 5, 0]), rng.random()
    order, numbers = ordered(rng, rng.sample(range(1000), count) if step == 0 else list(range(count)))

    def run(root: Path) -> list[Any]:
        with view(root / cube.name, cube.number, tool) as shown:
            solid = Solid(cube, shown)
            most = max(1, WORKED // int(np.prod(solid.shape[1:])))
            if step == 0:
                places = [number * solid.length // 1000 for number in numbers[:most]]
            else:
                room = max(0, solid.length - 1 - (count - 1) * step)
                places = [int(start * room) + number * step for number in numbers[:most]]
            return [solid.cut(slice(place, place + 1)) for place in places if place < solid.length]

    return f"{count} planes, {f'step {step}' if step else 'any'}, {order}: {words}", [cube.name], run


@family("series")
def series(rng: Random) -> Drawn:
    """Read all along the first axis at one position, or at some: a spectrum or a light curve."""
    cube, tool, words = choose(rng)
    count, side = rng.choice([1, 1, 2, 5]), rng.choice([1, 1, 1, 2, 3, 5])
    places = [(rng.random(), rng.random()) for _ in range(count)]

    def run(root: Path) -> list[Any]:
        with view(root / cube.name, cube.number, tool) as shown:
            solid = Solid(cube, shown)
            along = slice(0, min(solid.length, PIECES // (count * side)))
            return [solid.cut(along, span(solid.shape[1], y, side), span(solid.shape[2], x, side)) for y, x in places]

    return f"{count} series of {side} x {side} along the first axis: {words}", [cube.name], run


@family("lines of a cube")
def lines(rng: Random) -> Drawn:
    """Read all along the last axes at some positions of the first two: light curves of a TESS cube."""
    cube, tool, words = choose(rng)
    count = between(rng, 1, 100)
    places = [(rng.random(), rng.random()) for _ in range(count)]

    def run(root: Path) -> list[Any]:
        with view(root / cube.name, cube.number, tool) as shown:
            solid = Solid(cube, shown)
            return [solid.cut(span(solid.length, z, 1), span(solid.shape[1], y, 1)) for z, y in places]

    return f"{count} lines along the last axes: {words}", [cube.name], run


@family("sub-cubes")
def sub_cubes(rng: Random) -> Drawn:
    """Read boxes of a cube."""
    cube, tool, words = choose(rng)
    count = rng.choice([1, 1, 2, 4])
    depth, height, width = between(rng, 2, 60), between(rng, 2, 60), between(rng, 2, 60)
    places = [(rng.random(), rng.random(), rng.random()) for _ in range(count)]

    def run(root: Path) -> list[Any]:
        with view(root / cube.name, cube.number, tool) as shown:
            solid = Solid(cube, shown)
            return [
                solid.cut(span(solid.length, z, depth), span(solid.shape[1], y, height), span(solid.shape[2], x, width))
                for z, y, x in places
            ]

    return f"{count} boxes of {depth} x {height} x {width}: {words}", [cube.name], run


@family("neighbouring planes")
def neighbouring(rng: Random) -> Drawn:
    """Read the same box of planes, a plane at a time."""
    cube, tool, words = choose(rng)
    count, side = between(rng, 3, 40), between(rng, 5, 120)
    step = rng.choice([1, 1, 1, -1, 3])
    place = rng.random(), rng.random(), rng.random()

    def run(root: Path) -> list[Any]:
        with view(root / cube.name, cube.number, tool) as shown:
            solid = Solid(cube, shown)
            part = span(solid.length, place[0], count * abs(step))
            numbers = list(range(part.start, part.stop, abs(step)))[:: 1 if step > 0 else -1]
            box = span(solid.shape[1], place[1], side), span(solid.shape[2], place[2], side)
            return [solid.cut(slice(number, number + 1), *box) for number in numbers]

    return f"{side} x {side} in each of {count} planes, step {step}: {words}", [cube.name], run
