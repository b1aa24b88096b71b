"""Checks with the tools of `scripts/setup heavy`: viewers, interpreters and pipelines."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from checking import Sample, check, digest
from checks_light import CATALOGUE, CUBE, DRC, I2D, MEF, RATE

ASTROLIB = Path("/usr/share/gnudatalanguage/astrolib")


@check("ds9", DRC, RATE, MEF, level="heavy", setup="heavy", needs=["ds9", "xpaget", "xvfb-run"])
def ds9(sample: Sample) -> Any:
    """Show images, and ask the viewer for headers, pixels, limits and regions."""
    with _viewer("fitsfs"):
        return [_shown(sample, "fitsfs", path) for path in sample.paths]


@contextmanager
def _viewer(title: str) -> Iterator[None]:
    """Run DS9 without a screen, and wait until it answers."""
    os.environ.update(XPA_METHOD="local", XPA_TMPDIR=str(Path.cwd()))
    command = ["xvfb-run", "-a", "-s", "-screen 0 1024x768x24", "ds9", "-title", title]
    viewer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(["xpaget", title, "version"], capture_output=True, check=False).returncode:
            if time.monotonic() > deadline or viewer.poll() is not None:
                raise RuntimeError("DS9 does not answer")
            time.sleep(0.2)
        yield
    finally:
        os.killpg(viewer.pid, signal.SIGTERM)
        viewer.wait()


def _shown(sample: Sample, title: str, path: Path) -> list[str]:
    def ask(*words: str) -> str:
        return sample.tool("xpaget", title, *words)

    def tell(*words: str) -> None:
        sample.tool("xpaset", "-p", title, *words)

    tell("file", f"{path}[1]")
    tell("scale", "mode", "minmax")
    tell("regions", "command", '"circle 30 30 10"')
    pixels = sorted(ask("data", "image", "10", "20", "40", "30", "no").splitlines())
    assert len(pixels) == 1200, f"{len(pixels)} pixels instead of 1200"
    questions = [("file",), ("fits", "size"), ("fits", "header", "1"), ("scale", "limits"), ("regions",)]
    return [*pixels, *(ask(*question) for question in questions)]


IDL = """
a = readfits('{image}', h, exten_no=1, /silent)
print, n_elements(h), size(a, /dimensions), total(double(a)), a[17, 23], format='(I8, 2I8, F30.8, F14.6)'
c = readfits('{image}', exten_no=2, /silent)
print, total(double(c)), format='(F30.8)'
t = mrdfits('{table}', 1, th, /silent)
print, n_elements(t), total(t.ra), total(t.dec), t[1000].id, format='(I10, 2F30.8, I20)'
r = mrdfits('{table}', 1, range=[40, 59], /silent)
print, total(r.mag05), r[3].name, format='(F30.8, A30)'
exit
"""


@check("gdl", DRC, CATALOGUE, level="heavy", setup="heavy", needs=["gdl"])
def gdl(sample: Sample) -> Any:
    """Read images and tables with IDL's readfits and mrdfits."""
    os.environ.update(GDL_PATH=f"+{ASTROLIB}:+/usr/share/gnudatalanguage/lib")
    image, table = sorted(sample.paths, key=lambda path: path.match(CATALOGUE))
    Path("read.pro").write_text(IDL.format(image=image, table=table))
    printed = sample.tool("gdl", "-quiet", "read.pro")
    assert printed.count("\n") >= 4, f"GDL printed only {printed!r}"
    return printed


@check("jwst-datamodels", "jw*.fits", level="heavy", setup="heavy", needs=["module:jwst"])
def jwst_datamodels(sample: Sample) -> Any:
    """Open every product as the JWST pipeline does, with its metadata and all its arrays."""
    from jwst import datamodels

    found = {}
    for name, path in zip(sample.names, sample.paths, strict=True):
        with datamodels.open(path) as model:
            flat = model.to_flat_dict()
            found[name] = [type(model).__name__, *(f"{key}={_described(flat[key])}" for key in sorted(flat))]
    return found


def _described(value: Any) -> str:
    return digest(value) if isinstance(value, np.ndarray) else str(value)


@check("swarp", DRC, I2D, level="heavy", setup="heavy", needs=["SWarp"])
def swarp(sample: Sample) -> Any:
    """Resample an image onto a new grid."""
    found = []
    for path in sample.paths:
        names = ["-IMAGEOUT_NAME", "coadd.fits", "-WEIGHTOUT_NAME", "weight.fits", "-RESAMPLE_DIR", "."]
        sample.tool("SWarp", f"{path}[1]", *names, "-NTHREADS", "1", "-WRITE_XML", "N", "-VERBOSE_TYPE", "QUIET")
        found += [digest(fits.getdata(name)) for name in ("coadd.fits", "weight.fits")]
    return found


@check("wcstools", DRC, MEF, level="heavy", setup="heavy", needs=["imhead", "imsize", "gethead", "getpix"])
def wcstools(sample: Sample) -> Any:
    """Print headers, sizes, keywords and pixels."""
    found = []
    for path in sample.paths:
        found += [sample.tool(tool, f"{path},1") for tool in ("imhead", "imsize")]
        found.append(sample.tool("gethead", "CRVAL1", "CRVAL2", f"{path},2"))
        found.append(sample.tool("getpix", f"{path},2", "10-20", "20-30"))
    return found


@check("astrocut-cube", CUBE, level="heavy", setup="heavy", needs=["module:astrocut"])
def astrocut_cube(sample: Sample) -> Any:
    """Cut a target pixel file out of a cube of full-frame images."""
    from astrocut import TessCubeCutout

    cutout = TessCubeCutout(sample.path, "220.0 60.0", (11, 9)).tpf_cutouts[0]
    return [[name, digest(cutout[1].data[name])] for name in cutout[1].columns.names]


@check("astrocut-image", DRC, level="heavy", setup="heavy", needs=["module:astrocut"])
def astrocut_image(sample: Sample) -> Any:
    """Cut a piece of sky out of an image."""
    from astrocut import fits_cut

    pieces = fits_cut(str(sample.path), "150.1 2.2", [60, 50], memory_only=True)
    return [digest(hdu.data) for hdu in pieces[0] if hdu.data is not None]
