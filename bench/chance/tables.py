"""Cases of tables: rows, columns, and arrays of variable length."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from chance.case import Drawn, between, family, ordered
from workloads.tables import CATALOGUE, SPECTRA

WORKED = 40_000_000


@dataclass(frozen=True)
class Table:
    """Where a table is: its rows, their bytes, and some of its columns."""

    name: str
    rows: int
    row: int
    columns: tuple[str, ...]


TABLES = (
    Table(CATALOGUE, 1_000_000, 155, ("ID", "RA", "DEC", "MAG00", "MAG07", "MAG23", "NAME", "FLAGS", "TILE")),
    Table("heasarc/chandra/acisf_evt2.fits", 4_000_000, 26, ("TIME", "X", "Y", "PHA", "CCD_ID")),
    Table(
        "tess/public/tid/s0023/tess2020078014623-s0023-0000000219114641-0177-s_tp.fits",
        40_000,
        1464,
        ("TIME", "FLUX", "FLUX_ERR", "QUALITY"),
    ),
    Table("irsa/planck/map_v1.fits", 3072, 12_288, ("I_STOKES", "Q_STOKES", "U_STOKES")),
)


def choose(rng: Random) -> tuple[Table, str, str]:
    """Draw a table, a tool, and words for them."""
    table, tool = rng.choice(TABLES), rng.choice(["astropy", "fitsio"])
    return table, tool, f"{table.name.rsplit('/', 1)[1]} by {tool}"


def read(path: Path, tool: str, columns: list[str] | None, rows: list[int] | slice) -> list[Any]:
    """Read columns, or all, of rows; those of a list one by one by astropy, in one call by cfitsio."""
    if tool == "fitsio":
        import fitsio

        with fitsio.FITS(str(path)) as hdus:
            if isinstance(rows, slice):
                found = hdus[1][rows] if columns is None else hdus[1][columns][rows]
            else:
                found = hdus[1].read(rows=rows, columns=columns)
            return [found]
    from astropy.io import fits

    with fits.open(path) as hdus:
        data = hdus[1].data
        pieces = [rows] if isinstance(rows, slice) else [slice(row, row + 1) for row in rows]
        if columns is None:
            raw = data.view(np.ndarray)
            return [raw[piece].copy() for piece in pieces]
        return [np.array(data[column][piece]) for column in columns for piece in pieces]


@family("table rows here and there")
def rows_apart(rng: Random) -> Drawn:
    """Read rows that a selection found."""
    table, tool, words = choose(rng)
    count, part = between(rng, 3, 400), rng.choice([1.0, 1.0, 0.3, 0.05])
    low = int(rng.random() * (1 - part) * table.rows)
    order, numbers = ordered(rng, rng.sample(range(low, low + int(part * table.rows)), min(count, table.rows // 20)))
    # cfitsio's binding sorts its rows, so an order would not be one.
    numbers, order = (sorted(numbers), "ascending") if tool == "fitsio" else (numbers, order)

    def run(root: Path) -> list[Any]:
        return read(root / table.name, tool, None, numbers)

    return f"{len(numbers)} rows in {part:.0%} of the table, {order}: {words}", [table.name], run


@family("table rows in one piece")
def rows_together(rng: Random) -> Drawn:
    """Read a run of rows."""
    table, tool, words = choose(rng)
    count = min(between(rng, 10, table.rows), WORKED // table.row)
    start = int(rng.random() * (table.rows - count))

    def run(root: Path) -> list[Any]:
        return read(root / table.name, tool, None, slice(start, start + count))

    return f"{count} rows from {start}: {words}", [table.name], run


@family("columns of a table")
def columns(rng: Random) -> Drawn:
    """Read one column or some, of all rows or of a part."""
    table, tool, words = choose(rng)
    names = rng.sample(table.columns, rng.choice([1, 1, 1, 2, 3]))
    part = rng.choice([1.0, 1.0, 0.3, 0.05])
    count = int(part * table.rows)
    start = int(rng.random() * (table.rows - count))

    def run(root: Path) -> list[Any]:
        return read(root / table.name, tool, names, slice(start, start + count))

    return f"{', '.join(names)} of {part:.0%} of the rows: {words}", [table.name], run


@family("arrays of variable length")
def heap(rng: Random) -> Drawn:
    """Read a heap: all of it in the order of the rows, a run of rows, or rows here and there."""
    way = rng.choice(["astropy, whole column", "fitsio, run of rows", "fitsio, rows here and there", "astropy, rows"])
    count = between(rng, 20, 2000) if way == "fitsio, run of rows" else between(rng, 5, 150)
    start = rng.randrange(10_000 - count)
    rows = sorted(rng.sample(range(10_000), count))

    def run(root: Path) -> list[Any]:
        path = root / SPECTRA
        if way.startswith("fitsio"):
            import fitsio

            wanted = list(range(start, start + count)) if way == "fitsio, run of rows" else rows
            with fitsio.FITS(str(path), vstorage="object") as hdus:
                return list(hdus[1].read(columns=["SPECTRUM"], rows=wanted)["SPECTRUM"])
        from astropy.io import fits

        with fits.open(path) as hdus:
            data = hdus[1].data
            return list(data["SPECTRUM"]) if way == "astropy, whole column" else list(data[start:][:count]["SPECTRUM"])

    return f"{way}{'' if 'whole' in way else f', {count}'}: {SPECTRA.rsplit('/', 1)[1]}", [SPECTRA], run
