"""Reading a little of each of many files."""

from __future__ import annotations

from typing import Any

import numpy as np

from sources import Source
from workloads.registry import BLOCK, HEADERS, MIB, workload

SPECTRA = [f"sdss/spectra/spec-3586-55181-{number:04}.fits" for number in range(1, 161)]


@workload("first-mib", "first MiB of each of 42 files (rate, 84 MB each)", *HEADERS[:42], needed=42 * MIB, modules=[])
def first_mib(source: Source, *names: str) -> Any:
    """Read the beginning of each file of a folder, as `file *` does."""
    found = []
    for name in names:
        with source.raw(name) as file:
            found.append(file.read(MIB))
    return found


# The tables are 21,832,704 bytes long.
@workload(
    "spectra",
    "a table of each of 160 spectra (0.3 to 0.9 MB each)",
    *SPECTRA,
    needed=160 * (3 + 1) * BLOCK + 21_832_704,
)
def spectra(source: Source, *names: str) -> Any:
    """Read the table of each spectrum of a plate."""
    found = []
    for name in names:
        with source.fits(name) as hdus:
            found.append(np.array(hdus[1].data))
    return found
