"""JWST files written by the pipeline's own data models, with real ASDF extensions.

Import this module only where stdatamodels is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from astropy.time import Time
from stdatamodels.jwst import datamodels

from fitswriter import Image, pixels
from products import Sizes

WRITTEN = Time("2026-01-01T00:00:00")


def rate(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a countrate image of one exposure."""
    _save(_image_model(sizes, seed, "rate"), path, 230)


def cal(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a calibrated exposure."""
    model = _image_model(sizes, seed, "cal")
    shape = model.data.shape
    model.area = _plane("AREA", shape, seed + 5)
    model.var_flat = _plane("VAR_FLAT", shape, seed + 6)
    _save(model, path, 450)


def uncal(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a raw exposure with its tables of groups and integrations."""
    side = sizes.detector
    model = datamodels.Level1bModel()
    model.data = _plane("SCI", (1, 5, side, side), seed, ">u2")
    model.zeroframe = _plane("ZEROFRAME", (1, side, side), seed + 1, ">u2")
    model.group = _table(model.get_dtype("group"), 5)
    model.int_times = _table(model.get_dtype("int_times"), 1)
    _describe(model, "NIRCAM", "uncal")
    _save(model, path, 200)


def s3d(path: Path, sizes: Sizes, seed: int) -> None:
    """Write a spectral cube."""
    shape = (sizes.detector // 2, 43, 45)
    model = datamodels.IFUCubeModel()
    model.data = _plane("SCI", shape, seed)
    model.err = _plane("ERR", shape, seed + 1)
    model.dq = _plane("DQ", shape, seed + 2, ">u4")
    model.weightmap = _plane("WMAP", shape, seed + 3)
    _describe(model, "NIRSPEC", "s3d")
    _save(model, path, 300)


def x1d(path: Path, sizes: Sizes, seed: int) -> None:
    """Write extracted spectra."""
    model = datamodels.MultiSpecModel()
    for number in range(3):
        spectrum = datamodels.SpecModel()
        spectrum.spec_table = _table(spectrum.get_dtype("spec_table"), sizes.detector)
        spectrum.name = f"S{number}"
        spectrum.meta.date = WRITTEN.isot
        model.spec.append(spectrum)
    _describe(model, "NIRSPEC", "x1d")
    _save(model, path, 300)


def _image_model(sizes: Sizes, seed: int, kind: str) -> datamodels.ImageModel:
    shape = (sizes.detector, sizes.detector)
    model = datamodels.ImageModel()
    model.data = _plane("SCI", shape, seed, stars=True)
    model.err = _plane("ERR", shape, seed + 1)
    model.dq = _plane("DQ", shape, seed + 2, ">u4")
    model.var_poisson = _plane("VAR_POISSON", shape, seed + 3)
    model.var_rnoise = _plane("VAR_RNOISE", shape, seed + 4)
    _describe(model, "NIRCAM", kind)
    return model


def _plane(name: str, shape: tuple[int, ...], seed: int, dtype: str = ">f4", stars: bool = False) -> np.ndarray:
    chunks = list(pixels(Image(name, shape, dtype, stars=stars), seed))
    return np.concatenate(chunks).reshape(shape).astype(np.dtype(dtype).newbyteorder("="))


def _table(dtype: list[tuple], rows: int) -> np.ndarray:
    table = np.zeros(rows, dtype=dtype)
    for number, name in enumerate(table.dtype.names):
        if table[name].dtype.kind != "S":
            table[name] = np.arange(rows) + 10 * number
    return table


def _describe(model: datamodels.JwstDataModel, instrument: str, kind: str) -> None:
    model.meta.telescope = "JWST"
    model.meta.instrument.name = instrument
    model.meta.exposure.type = "NRC_IMAGE" if instrument == "NIRCAM" else "NRS_IFU"
    model.meta.observation.program_number = "01783"
    model.meta.observation.observation_number = "004"
    model.meta.target.catalog_name = kind


def _save(model: datamodels.JwstDataModel, path: Path, filler_cards: int) -> None:
    """Save a model as of a fixed date, with so many further cards in its primary header."""
    cards = [[f"KEY{number:05}", number * 0.5, "value of the observatory"] for number in range(filler_cards)]
    model.extra_fits = {"PRIMARY": {"header": cards}}
    with mock.patch.object(Time, "now", return_value=WRITTEN):
        model.save(str(path))
    model.close()


BUILDERS: dict[str, Callable[[Path, Sizes, int], None]] = {
    "rate": rate,
    "cal": cal,
    "uncal": uncal,
    "s3d": s3d,
    "x1d": x1d,
}
