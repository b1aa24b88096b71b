"""Files of the Roman telescope, written by asdf. Import this module only where asdf is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asdf
import numpy as np

from fitswriter import Image, pixels
from products import Sizes

ARRAYS = {"data": "f4", "dq": "u4", "err": "f2", "var_poisson": "f4", "var_rnoise": "f2", "var_flat": "f2"}
SECTIONS = ("aperture", "cal_step", "coordinates", "ephemeris", "guide_star", "pointing", "ref_file", "visit")
BORDER = 4


def cal(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a calibrated exposure of one detector of the Wide Field Instrument (level 2), its tree of some 100 KB."""
    side = sizes.roman
    roman: dict[str, Any] = {"meta": _meta(), "cal_logs": _logs()}
    for number, (name, dtype) in enumerate(ARRAYS.items()):
        roman[name] = _plane(name, (side, side), dtype, seed + number)
    for number, edge in enumerate(("left", "right")):
        roman[f"border_ref_pix_{edge}"] = _plane(edge, (2, side + 2 * BORDER, BORDER), "f4", seed + 10 + number)
    asdf.AsdfFile({"roman": roman}).write_to(path)


def _meta() -> dict[str, Any]:
    sections = {name: {f"{name}_{n:03}": n * 0.125 for n in range(150)} for name in SECTIONS}
    exposure = {"exposure_time": 139.8, "frame_time": 3.04, "nresultants": 8, "type": "WFI_IMAGE"}
    return {"exposure": exposure, "instrument": {"detector": "WFI01", "optical_element": "F158"}, **sections}


def _logs() -> list[str]:
    line = "2026-01-01T00:00:{second:02}.{number:03}Z :: stpipe.step :: INFO :: Step number {number} has seen it: done"
    return [line.format(second=number % 60, number=number) for number in range(800)]


def _plane(name: str, shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    image = Image(name, shape, ">i4" if dtype == "u4" else ">f4", stars=name == "data")
    return np.concatenate(list(pixels(image, seed))).reshape(shape).astype(f"<{dtype}")
