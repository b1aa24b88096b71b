"""Checks with the tools of `scripts/setup test`: Python's readers and the command-line tools of astronomy."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from checking import Sample, check, digest, last_line

RATE = "*_00004_*_rate.fits"
DRC = "*_drc.fits"
I2D = "*_i2d.fits"
MEF = "c4d_*.fits"
PACKED = "c4d_*.fits.fz"
TILED = "stack_*.fits.fz"
CATALOGUE = "catalogue_v1.fits"
TARGET = "*_tp.fits"
CUBE = "*-cube.fits"
ROMAN = "*_cal.asdf"


@check("attributes", "*")
def attributes(sample: Sample) -> Any:
    """List all folders, with the size and the type of every file."""
    tree = {}
    for folder, folders, files in os.walk(sample.root):
        relative = Path(folder).relative_to(sample.root)
        tree[str(relative)] = sorted(folders)
        tree.update({str(relative / name): Path(folder, name).stat().st_size for name in files})
    return dict(sorted(tree.items()))


@check("text", "*.csv", "*.txt")
def text(sample: Sample) -> Any:
    """Read plain text and comma-separated values."""
    return [list(csv.reader(path.open(encoding="utf-8"))) for path in sample.paths]


@check("astropy-info", "*.fits", "*.fz")
def astropy_info(sample: Sample) -> Any:
    """List the HDUs of every file, with where each header and each data unit starts."""
    found = {}
    for name, path in zip(sample.names, sample.paths, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with fits.open(path) as hdus:
                    found[name] = [hdus.info(output=False), [str(_span(hdu)) for hdu in hdus]]
            except OSError as error:  # the empty file: the same error on both sides
                found[name] = last_line(str(error)).replace(str(sample.root), "ROOT")
    return found


def _span(hdu: Any) -> tuple[int, int, int]:
    info = hdu.fileinfo()
    return info["hdrLoc"], info["datLoc"], info["datSpan"]


@check("astropy-last-header", RATE)
def astropy_last_header(sample: Sample) -> Any:
    """Read the header at the end of the chain."""
    with fits.open(sample.path) as hdus:
        return repr(hdus[-1].header)


@check("astropy-memmap", RATE, DRC)
def astropy_memmap(sample: Sample) -> Any:
    """Map each file, read a cutout from the middle first, then all images."""
    found = []
    for path in sample.paths:
        with fits.open(path) as hdus:
            rows, columns = hdus[1].shape
            found.append(digest(hdus[1].data[rows // 3 : rows // 2, columns // 3 : columns // 2]))
            found += [digest(hdu.data) for hdu in hdus if hdu.is_image and hdu.shape]
    return found


@check("astropy-denywrite", CUBE, I2D)
def astropy_denywrite(sample: Sample) -> Any:
    """Map each file shared and read single pixels' series, columns and rows."""
    found = []
    for path in sample.paths:
        with fits.open(path, mode="denywrite", memmap=True) as hdus:
            data = hdus[1].data
            found += [digest(data[row, column]) for row, column in ((0, 0), (7, 50), (90, 3), (-1, -1))]
            found += [digest(data[:, 11]), digest(data[41])]
    return found


@check("astropy-section", DRC, I2D)
def astropy_section(sample: Sample) -> Any:
    """Read cutouts without mapping."""
    found = []
    for path in sample.paths:
        with fits.open(path, memmap=False) as hdus:
            found += [digest(hdus[n].section[100:160, 200:260]) for n in (1, 2)]
    return found


@check("astropy-arrays", RATE, "*_cal.fits", "*_uncal.fits", "*_s3d.fits")
def astropy_arrays(sample: Sample) -> Any:
    """Read all arrays into memory."""
    found = []
    for path in sample.paths:
        with fits.open(path, memmap=False) as hdus:
            found += [digest(hdu.data) for hdu in hdus if hdu.data is not None]
    return found


@check("astropy-nonstandard", "*_flc.fits")
def astropy_nonstandard(sample: Sample) -> Any:
    """Read a file with extensions of an unknown type."""
    with fits.open(sample.path) as hdus:
        return [[hdu.name, type(hdu).__name__, digest(np.frombuffer(hdu.data, np.uint8))] for hdu in hdus[1:]]


@check("astropy-compressed", TILED, PACKED)
def astropy_compressed(sample: Sample) -> Any:
    """Read a cutout of a tile-compressed image, and whole ones."""
    found = []
    for path in sample.paths:
        with fits.open(path) as hdus:
            found.append(digest(hdus[1].section[20:110, 30:120]))
            found += [digest(hdu.data) for hdu in hdus[1:6]]
    return found


@check("astropy-tables", CATALOGUE, TARGET, "variable_arrays.fits", "ascii_table.fits", "*_x1d.fits")
def astropy_tables(sample: Sample) -> Any:
    """Read rows, then columns, of tables of all kinds."""
    found = []
    for path in sample.paths:
        with fits.open(path) as hdus:
            table = hdus[1]
            found.append(repr(table.data[len(table.data) // 2])[:2000])
            found += [[column, digest(table.data[column])] for column in table.columns.names]
    return found


@check("astropy-table-read", CATALOGUE)
def astropy_table_read(sample: Sample) -> Any:
    """Read a catalogue as a Table and select from it."""
    table = Table.read(sample.path)
    return [table.colnames, digest(table[table["RA"] < 9].as_array())]


@check("astropy-scaled", "scaled_integers.fits", "random_groups.fits")
def astropy_scaled(sample: Sample) -> Any:
    """Read scaled integers with undefined pixels, and random groups with their parameters."""
    scaled, groups = (next(path for path in sample.paths if key in path.name) for key in ("scaled", "groups"))
    with fits.open(scaled) as hdus, fits.open(groups) as group_hdus:
        data = group_hdus[0].data
        return [digest(hdus[1].data), digest(data.data), *(digest(data.par(name)) for name in data.parnames)]


@check("astropy-gzip", "*.fits.gz")
def astropy_gzip(sample: Sample) -> Any:
    """Read a file that is compressed as a whole."""
    with fits.open(sample.path) as hdus, gzip.open(sample.path) as unpacked:
        return [digest(hdus[0].data), len(unpacked.read())]


@check("astropy-checksum", "checksummed.fits")
def astropy_checksum(sample: Sample) -> Any:
    """Verify CHECKSUM and DATASUM: a warning is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(sample.path, checksum=True) as hdus:
            return [[digest(hdu.data), hdu.header["CHECKSUM"]] for hdu in hdus]


@check("astropy-malformed", "truncated.fits", "trailing.fits", "empty.fits")
def astropy_malformed(sample: Sample) -> Any:
    """Open files that end too early or too late: the same data, warnings and errors."""
    return [_opened(path) for path in sample.paths]


def _opened(path: Path) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with fits.open(path) as hdus:
                found = [digest(hdu.data) for hdu in hdus]
        except (OSError, ValueError, TypeError) as error:
            found = [type(error).__name__]
    return found + [last_line(str(warning.message)) for warning in caught]


@check("asdf-lazy", ROMAN, needs=["module:asdf"])
def asdf_lazy(sample: Sample) -> Any:
    """Read metadata, map an array and read a cutout, then all arrays."""
    import asdf

    with asdf.open(sample.path, lazy_load=True, memmap=True) as file:
        tree = file["roman"]
        rows, columns = tree["data"].shape
        found = [tree["meta"]["exposure"]["exposure_time"], len(tree["cal_logs"])]
        found.append(digest(tree["data"][rows // 3 : rows // 2, columns // 3 : columns // 2]))
        arrays = {name: node for name, node in tree.items() if hasattr(node, "dtype")}
        return [*found, {name: digest(array[:]) for name, array in arrays.items()}]


@check("asdf-checksum", ROMAN, needs=["module:asdf"])
def asdf_checksum(sample: Sample) -> Any:
    """Read all blocks without mapping, and have asdf verify their checksums."""
    import asdf

    with asdf.open(sample.path, lazy_load=False, memmap=False, validate_checksums=True) as file:
        return [file["roman"]["dq"].dtype.str, digest(file["roman"]["dq"][:])]


@check("odd-names", "NGC *.fits", "*+*.fits", "*%41.fits", "*Eta*.fits")
def odd_names(sample: Sample) -> Any:
    """Open files whose names have blanks, plus signs, percent signs and accents."""
    return [[name, digest(fits.getdata(path))] for name, path in zip(sample.names, sample.paths, strict=True)]


@check("fitsio-walk", MEF, RATE, I2D, needs=["module:fitsio"])
def fitsio_walk(sample: Sample) -> Any:
    """Read the header of every HDU with cfitsio."""
    import fitsio

    found = []
    for path in sample.paths:
        with fitsio.FITS(str(path)) as hdus:
            found += [repr(hdu.read_header()) for hdu in hdus]
    return found


@check("fitsio-images", DRC, TILED, needs=["module:fitsio"])
def fitsio_images(sample: Sample) -> Any:
    """Read a cutout and a whole image with cfitsio."""
    import fitsio

    found = []
    for path in sample.paths:
        with fitsio.FITS(str(path)) as hdus:
            found += [digest(hdus[1][100:300, 150:250]), digest(hdus[1].read())]
    return found


@check("fitsio-table", CATALOGUE, needs=["module:fitsio"])
def fitsio_table(sample: Sample) -> Any:
    """Read rows, columns and a selection of a table with cfitsio."""
    import fitsio

    with fitsio.FITS(str(sample.path)) as hdus:
        table = hdus[1]
        return [
            digest(table.read(rows=[1, 500, 10_000])),
            digest(table.read(columns=["RA", "MAG07"])),
            digest(table["NAME"][100:200]),
            digest(table.where("RA > 10 && RA < 11")),
        ]


@check("fitsverify", RATE, DRC, CATALOGUE, TARGET, "checksummed.fits", "truncated.fits", needs=["fitsverify"])
def fitsverify(sample: Sample) -> Any:
    """Verify files, good and bad: the same report."""
    return [sample.tool("fitsverify", "-l", path, failing=True) for path in sample.paths]


@check("cfitsio-programs", TILED, DRC, needs=["funpack", "imcopy"])
def cfitsio_programs(sample: Sample) -> Any:
    """Uncompress a file, and copy a section out of another."""
    drizzled, packed = sorted(sample.paths, key=lambda path: path.suffix == ".fz")
    sample.tool("funpack", "-O", "unpacked.fits", packed)
    sample.tool("imcopy", f"{drizzled}[1][101:200,201:300]", "section.fits")
    return [digest(fits.getdata(name)) for name in ("unpacked.fits", "section.fits")]


@check("gnuastro-astfits", MEF, RATE, needs=["astfits"])
def gnuastro_astfits(sample: Sample) -> Any:
    """List HDUs and print keywords."""
    lists = [sample.tool("astfits", path).splitlines() for path in sample.paths]
    headers = [sample.tool("astfits", path, "-h1") for path in sample.paths]
    return [[line for line in lines if not line.startswith("Run on ")] for lines in lists] + headers


@check("gnuastro-aststatistics", DRC, needs=["aststatistics"])
def gnuastro_aststatistics(sample: Sample) -> Any:
    """Print the statistics of an image."""
    return [sample.tool("aststatistics", sample.path, f"-h{hdu}") for hdu in (1, 2)]


@check("gnuastro-astcrop", DRC, needs=["astcrop"])
def gnuastro_astcrop(sample: Sample) -> Any:
    """Crop an image by pixels and by coordinates."""
    sample.tool("astcrop", sample.path, "-h1", "--mode=img", "--section=101:300,201:260", "--output=pixels.fits")
    center = ["--center=150.1,2.2", "--width=0.001"]
    sample.tool("astcrop", sample.path, "-h1", "--mode=wcs", *center, "--output=sky.fits")
    return [digest(fits.getdata(name, 1)) for name in ("pixels.fits", "sky.fits")]


@check("gnuastro-asttable", CATALOGUE, needs=["asttable"])
def gnuastro_asttable(sample: Sample) -> Any:
    """Print columns, and rows within a range."""
    return [
        sample.tool("asttable", sample.path, "-h1", "-c", "RA,DEC,MAG03", "--head=100"),
        sample.tool("asttable", sample.path, "-h1", "-c", "ID,RA", "--range=RA,10,10.5"),
    ]


@check("source-extractor", DRC, needs=["source-extractor"])
def source_extractor(sample: Sample) -> Any:
    """Detect sources: the two catalogues must be equal."""
    Path("columns.param").write_text("NUMBER\nX_IMAGE\nY_IMAGE\nFLUX_AUTO\nMAG_AUTO\nFLUX_RADIUS\nFLAGS\n")
    options = ["-PARAMETERS_NAME", "columns.param", "-FILTER", "N", "-CATALOG_NAME", "found.cat"]
    sample.tool("source-extractor", f"{sample.path}[1]", *options, "-VERBOSE_TYPE", "QUIET")
    catalogue = Path("found.cat").read_text()
    assert catalogue.count("\n") > 20, "hardly any source found"
    return catalogue


@check("stilts", CATALOGUE, needs=["stilts"])
def stilts(sample: Sample) -> Any:
    """Compute statistics of all columns of a table, and select rows."""
    stilts = ["stilts", "-Djava.awt.headless=true", "tpipe", f"in={sample.path}", "ifmt=fits"]
    selection = ["cmd=select RA<10", "cmd=keepcols 'ID RA DEC MAG05 NAME'", "ofmt=csv"]
    return [sample.tool(*stilts, "omode=stats"), sample.tool(*stilts, *selection)]


READER = """
import sys, hashlib, mmap
for path in sys.argv[1:]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        print(hashlib.sha256(view).hexdigest())
"""


@check("many-processes", DRC, MEF, PACKED, I2D)
def many_processes(sample: Sample) -> Any:
    """Read the same files from four processes at once."""
    command = [sys.executable, "-c", READER, *map(str, sample.paths)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    return [reader.communicate()[0] for reader in readers]


@check("bytes", "*")
def every_byte(sample: Sample) -> Any:
    """Read every file from its first to its last byte."""
    return {name: _sha256(path) for name, path in zip(sample.names, sample.paths, strict=True)}


def _sha256(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(io.BufferedReader(file), "sha256").hexdigest()
