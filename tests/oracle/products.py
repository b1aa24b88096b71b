"""JWST products of every kind, as stdatamodels writes them: with real ASDF extensions, but small."""

import warnings

import numpy as np
from stdatamodels.jwst import datamodels


def image():
    model = datamodels.ImageModel((64, 48))
    model.dq = np.zeros((64, 48), np.uint32)
    for plane in ("err", "var_poisson", "var_rnoise"):
        setattr(model, plane, np.zeros((64, 48), np.float32))
    return model


def calibrated():
    model = image()
    model.var_flat = np.zeros((64, 48), np.float32)
    model.area = np.ones((64, 48), np.float32)
    return model


def raw():
    model = datamodels.Level1bModel((2, 5, 32, 24))
    model.zeroframe = np.zeros((2, 32, 24), np.uint16)
    model.group = np.zeros(10, model.get_dtype("group"))
    model.int_times = np.zeros(2, model.get_dtype("int_times"))
    return model


def ramp():
    return datamodels.RampModel((1, 5, 32, 24))


def cube():
    model = datamodels.IFUCubeModel((10, 11, 12))
    model.weightmap = np.ones((10, 11, 12), np.float32)
    return model


def slits():
    model = datamodels.MultiSlitModel()
    for number in range(3):
        slit = datamodels.SlitModel((20 + number, 30))
        slit.name = f"slit{number}"
        model.slits.append(slit)
    return model


def spectrum():
    model = datamodels.MultiSpecModel()
    for rows in (7, 50):
        spec = datamodels.SpecModel()
        spec.spec_table = np.zeros(rows, spec.get_dtype("spec_table"))
        model.spec.append(spec)
    return model


PRODUCTS = {
    "rate": image,
    "cal": calibrated,
    "uncal": raw,
    "ramp": ramp,
    "s3d": cube,
    "slits": slits,
    "x1d": spectrum,
}


def describe(model):
    """Metadata of an observation, which make the long primary headers of the archive."""
    model.meta.telescope = "JWST"
    model.meta.instrument.name = "NIRCAM"
    model.meta.instrument.detector = "NRCA1"
    model.meta.observation.program_number = "01234"
    model.meta.target.proposer_name = "A target with a name that is too long for a card " * 3
    for number in range(200):
        model.history.append(f"step {number} of the calibration")


def write(directory):
    paths = []
    for name, make in PRODUCTS.items():
        path = directory / f"jw_{name}.fits"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with make() as model:
                describe(model)
                model.save(path)
        paths.append(path)
    return paths
