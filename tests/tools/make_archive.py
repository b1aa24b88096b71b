#!/usr/bin/env python3
"""Make an archive of FITS and ASDF files with the paths and the layouts of the Mikulski Archive.

OUT_DIR becomes what a bucket would hold. The same options give the same bytes, on every machine with the same versions
of astropy, asdf and stdatamodels (the JWST files come from stdatamodels where that is installed; where asdf is not,
there are no ASDF files). A file that exists is kept.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import bench_products
import products
import random_products
from products import BENCH, FULL, SMALL, Builder, Sizes

JWST = "jwst/public/jw01783"
EXPOSURE = f"{JWST}/jw01783004007/jw01783004007_02101"
NIRSPEC = f"{JWST}/L3/t/jw01783-o004_t008_nirspec_g395h-f290lp"
MOSAIC = f"{JWST}/L3/t/jw01783-o004_t008_nircam_clear-f444w_i2d.fits"
DRIZZLED = "hst/public/j8pu/j8pu0y010/j8pu0y010_drc.fits"
DECAM = "mast/hlsp/decam"
CUBE = "tess/public/mast/tess-s0022-4-4-cube.fits"
ROMAN = "roman/public/r00/r0000101001001001001_0001_wfi01_cal.asdf"
FORMATS = "mast/hlsp/formats"
NAMES = "mast/hlsp/names"

SHARED: dict[str, str] = {
    f"{EXPOSURE}_00004_nrcalong_rate.fits": "rate",
    MOSAIC: "i2d",
    DRIZZLED: "drc",
    ROMAN: "roman_cal",
    f"{DECAM}/c4d_200101_010203_ooi_r_v1.fits": "mef",
    f"{DECAM}/stack_r_v1.fits.fz": "tiled",
    "mast/hlsp/survey/catalogue_v1.fits": "catalogue",
}

ARCHIVE: dict[str, str] = {
    **{f"{EXPOSURE}_0000{n}_nrcalong_rate.fits": "rate" for n in (1, 2, 3)},
    **SHARED,
    CUBE: "ffi_cube",
    f"{DECAM}/c4d_200101_010203_ooi_r_v1.fits.fz": "compressed_mef",
    f"{EXPOSURE}_00004_nrcalong_cal.fits": "cal",
    f"{EXPOSURE}_00004_nrcalong_uncal.fits": "uncal",
    f"{NIRSPEC}_s3d.fits": "s3d",
    f"{NIRSPEC}_x1d.fits": "x1d",
    "hst/public/j8pu/j8pu0yahq/j8pu0yahq_flc.fits": "flc",
    "tess/public/tid/s0022/tess2020049080258-s0022-0000000219114641-0174-s_tp.fits": "target_pixels",
    f"{FORMATS}/variable_arrays.fits": "variable_arrays",
    f"{FORMATS}/ascii_table.fits": "ascii_table",
    f"{FORMATS}/random_groups.fits": "random_groups",
    f"{FORMATS}/scaled_integers.fits": "scaled_integers",
    f"{FORMATS}/checksummed.fits": "checksummed",
    f"{FORMATS}/image.fits.gz": "gzipped",
    f"{FORMATS}/truncated.fits": "truncated",
    f"{FORMATS}/trailing.fits": "trailing",
    f"{NAMES}/NGC 1365 r band.fits": "simple_image",
    f"{NAMES}/M31+M32.fits": "simple_image",
    f"{NAMES}/percent%41.fits": "simple_image",
    f"{NAMES}/Über Eta Cariñae 参宿.fits": "simple_image",
}

TEXTS: dict[str, str] = {
    "mast/hlsp/README.txt": "High level science products, one folder per survey.\n",
    "mast/hlsp/survey/catalogue_v1.csv": "id,ra,dec\n" + "".join(f"{n},{n / 10},{-n / 20}\n" for n in range(500)),
    f"{FORMATS}/empty.fits": "",
}

# What the benchmark reads of some of these is little, so they are large and mostly holes.
BENCH_ONLY: dict[str, str] = {
    **{f"{JWST}/headers/jw01783004007_{number:05}_nrcalong_rate.fits": "sparse_rate" for number in range(100)},
    "tess/public/mast/tess-s0023-4-4-cube.fits": "ffi_cube",
    f"{DECAM}/c4d_200202_020304_ooi_g_v1.fits.fz": "packed_mef",
    "mast/hlsp/survey/wide_v1.fits": "wide",
    "mast/hlsp/radio/channels_v1.fits": "channels",
    "mast/hlsp/survey/narrow_v1.fits": "narrow",
    "mast/hlsp/survey/field_v1.fits": "field",
    "mast/hlsp/survey/spectra_v1.fits": "heap",
    f"{DECAM}/cutouts_v1.fits": "uneven_mef",
    f"{DECAM}/cutouts_v1.fits.fz": "uneven_packed",
    **{f"mast/hlsp/chips/c4d_2003{n:02}_ooi_r_v1.fits.fz": "rice" for n in range(40)},
    **{f"rubin/visit/{n:08}/visit_image_{n:08}.fits": "visit" for n in range(2026010100, 2026010140)},
    **{f"sdss/spectra/spec-3586-55181-{n:04}.fits": "spectrum" for n in range(1, 161)},
}

# Random cases of the benchmark read all of the above, and these.
RANDOM_ONLY: dict[str, str] = {
    "eso/muse/cube_v1.fits": "spectral_cube",
    "mast/hlsp/radio/stokes_v1.fits": "stokes_cube",
    f"{EXPOSURE}_00004_nrcalong_uncal.fits": "ramp",
    **{f"ipac/ztf/2026/{n:04}/ztf_2026{n:04}_000535_zr_c04_o_q1_sciimg.fits": "chip" for n in range(101, 117)},
    "heasarc/chandra/acisf_evt2.fits": "events",
    "tess/public/tid/s0023/tess2020078014623-s0023-0000000219114641-0177-s_tp.fits": "stamps",
    "irsa/planck/map_v1.fits": "sky_map",
    "mast/hlsp/packed/image_v1.fits.gz": "packed_whole",
    "mast/hlsp/survey/catalogue_v1.parquet": "opaque",
}


def main() -> int:
    """Make the archive that the command line asks for."""
    options = parse_options()
    sizes, files, texts = selection(options)
    started = time.monotonic()
    for name, kind in files.items():
        if kind == "roman_cal" and not importlib.util.find_spec("asdf"):
            print(f"asdf is not installed: no {name}", file=sys.stderr)
            continue
        make_file(options.out_dir / name, builder(kind, sizes.genuine), sizes)
    for name, text in texts.items():
        path = options.out_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    size = sum(path.stat().st_size for path in regular_files(options.out_dir))
    print(f"{options.out_dir}: {size / 1e6:.1f} MB, {time.monotonic() - started:.1f} s")
    return 0


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", dest="size", action="store_const", const="small", help="under 80 MB (default)")
    size.add_argument("--full", dest="size", action="store_const", const="full", help="files of real size, 3 GB")
    size.add_argument("--bench", dest="size", action="store_const", const="bench", help="the files of the benchmark")
    size.add_argument("--random", dest="size", action="store_const", const="random", help="and of its random cases")
    parser.add_argument("--cube-gb", type=float, metavar="GB", help="size of the TESS cube")
    parser.set_defaults(size="small")
    return parser.parse_args()


def selection(options: argparse.Namespace) -> tuple[Sizes, dict[str, str], dict[str, str]]:
    """Return the sizes, the FITS and ASDF files by kind, and the text files."""
    sizes = {"small": SMALL, "full": FULL, "bench": BENCH, "random": BENCH}[options.size]
    if options.cube_gb is not None:
        rows, columns, frames = sizes.cube
        rows = max(1, int(options.cube_gb * 1e9 / (columns * frames * 8)))
        sizes = replace(sizes, cube=(rows, columns, frames))
    if options.size == "bench":
        return sizes, {**SHARED, **BENCH_ONLY}, {}
    if options.size == "random":
        return sizes, {**SHARED, **BENCH_ONLY, **RANDOM_ONLY}, {}
    return sizes, ARCHIVE, TEXTS


@cache
def builder(kind: str, genuine: bool) -> Builder:
    """Return what writes this kind of file: the instrument's own software if wanted, known and installed."""
    if kind == "roman_cal":
        import roman

        return roman.cal
    if genuine and importlib.util.find_spec("stdatamodels"):
        from genuine import BUILDERS

        if kind in BUILDERS:
            return BUILDERS[kind]
    module = next(module for module in (products, bench_products, random_products) if hasattr(module, kind))
    return getattr(module, kind)


def make_file(path: Path, build: Builder, sizes: Sizes) -> None:
    """Write a file in a folder of its own first: a file that is in its place is complete."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        build(unfinished, sizes, zlib.crc32(path.name.encode()))
        unfinished.rename(path)


def regular_files(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder."""
    return (path for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
