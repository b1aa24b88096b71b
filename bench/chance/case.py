"""What a case is, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any


@dataclass(frozen=True)
class Case:
    """Something to do with files below a folder; what `run` returns is a list of what was read."""

    family: str
    title: str
    files: Sequence[str]
    run: Callable[[Path], list[Any]]


Drawn = tuple[str, Sequence[str], Callable[[Path], list[Any]]]
FAMILIES: dict[str, Callable[[Random], Drawn]] = {}


def family(name: str) -> Callable:
    """Register a family: a function that draws a title, files, and what to do with them."""

    def register(draw: Callable[[Random], Drawn]) -> Callable[[Random], Drawn]:
        FAMILIES[name] = draw
        return draw

    return register


def draw(seed: int, number: int) -> Case:
    """Draw a case: the families take turns in an order that the seed gives, all else is chance."""
    order = sorted(FAMILIES)
    Random(f"{seed}").shuffle(order)
    name = order[number % len(order)]
    title, files, run = FAMILIES[name](Random(f"{seed}/{number}"))
    return Case(name, title, files, run)


def between(rng: Random, low: float, high: float) -> int:
    """Draw a whole number whose order of magnitude is equally likely."""
    return round(low * (high / low) ** rng.random())


def ordered(rng: Random, numbers: list[int]) -> tuple[str, list[int]]:
    """Return numbers in an order that a program might use, and its name."""
    order = rng.choice(["ascending", "ascending", "shuffled", "descending"])
    numbers = sorted(numbers, reverse=order == "descending")
    if order == "shuffled":
        rng.shuffle(numbers)
    return order, numbers
