"""The list of workloads, and the names of the files that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

RATE = "jwst/public/jw01783/jw01783004007/jw01783004007_02101_00004_nrcalong_rate.fits"
HEADERS = [f"jwst/public/jw01783/headers/jw01783004007_{number:05}_nrcalong_rate.fits" for number in range(100)]
I2D = "jwst/public/jw01783/L3/t/jw01783-o004_t008_nircam_clear-f444w_i2d.fits"
DRC = "hst/public/j8pu/j8pu0y010/j8pu0y010_drc.fits"
UNEVEN = "mast/hlsp/decam/cutouts_v1.fits"
VISITS = [f"rubin/visit/{n}/visit_image_{n}.fits" for n in range(2026010100, 2026010140)]

# A block of a FITS file, and a page of memory, in bytes.
BLOCK = 2880
PAGE = 4096
MIB = 1 << 20


@dataclass(frozen=True)
class Workload:
    """A named piece of work on files, and the bytes that it needs; `modules` are imported before the clock starts."""

    name: str
    title: str
    files: Sequence[str]
    run: Callable[..., Any]
    needed: int
    modules: Sequence[str]
    prepare: Callable[..., Any] | None


WORKLOADS: dict[str, Workload] = {}


def workload(
    name: str,
    title: str,
    *files: str,
    needed: int,
    modules: Sequence[str] = ("astropy.io.fits",),
    prepare: Callable[..., Any] | None = None,
) -> Callable:
    """Register a workload, which takes a source and the names of its files, as `prepare` does."""

    def register(run: Callable[..., Any]) -> Callable[..., Any]:
        WORKLOADS[name] = Workload(name, title, files, run, needed, modules, prepare)
        return run

    return register
