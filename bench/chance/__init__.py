"""Random cases: a file of an archive, and something that a program might do with it.

A case is drawn from a seed and a number, and is the same wherever and whenever it is drawn. A module holds the families
of one kind of access; importing it registers them. Nothing here knows what any system under test is good at.
"""

from __future__ import annotations

from chance import cubes, images, lists, raw, tables, tiles
from chance.case import FAMILIES, Case, draw

__all__ = ["FAMILIES", "Case", "cubes", "draw", "images", "lists", "raw", "tables", "tiles"]
