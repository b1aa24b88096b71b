"""Reading tables: columns, rows here and there, arrays of variable length."""

from __future__ import annotations

import random
from typing import Any

from sources import Source
from workloads.registry import BLOCK, workload

CATALOGUE = "mast/hlsp/survey/catalogue_v1.fits"
SPECTRA = "mast/hlsp/survey/spectra_v1.fits"


@workload("column", "one column of 1e6 rows (catalogue, 155 MB)", CATALOGUE, needed=4 * BLOCK + 1_000_000 * 4)
def column(source: Source, name: str) -> Any:
    """Read one column of a catalogue."""
    with source.fits(name) as hdus:
        return hdus[1].data["MAG07"].copy()


@workload(
    "cfitsio-rows",
    "3 rows of 1e6, cfitsio (catalogue, 155 MB)",
    CATALOGUE,
    needed=4 * BLOCK + 3 * 155,
    modules=["fitsio"],
)
def cfitsio_rows(source: Source, name: str) -> Any:
    """Read a few rows, far apart, with cfitsio."""
    import fitsio

    with fitsio.FITS(source.path(name)) as hdus:
        return hdus[1].read(rows=[10, 500_000, 999_990])


@workload(
    "scattered-rows",
    "300 rows of 1e6, ascending, cfitsio (catalogue, 155 MB)",
    CATALOGUE,
    needed=4 * BLOCK + 300 * 155,
    modules=["fitsio"],
)
def scattered_rows(source: Source, name: str) -> Any:
    """Read the rows that a selection found, here and there in the order of the table, with cfitsio."""
    import fitsio

    rows = sorted(random.Random(20260102).sample(range(1_000_000), 300))
    with fitsio.FITS(source.path(name)) as hdus:
        return hdus[1].read(rows=rows)


# The heap, and the rows that say where in it the arrays are.
@workload(
    "heap-column",
    "a column of 10,000 arrays of variable length (129 MB)",
    SPECTRA,
    needed=2 * BLOCK + 10_000 * 896 + 120_272_712,
)
def heap_column(source: Source, name: str) -> Any:
    """Read all spectra of a table whose heap has one for each row."""
    with source.fits(name) as hdus:
        return list(hdus[1].data["SPECTRUM"])
