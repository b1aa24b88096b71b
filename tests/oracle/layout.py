"""The layout of FITS files as astropy sees it, and of ASDF files as asdf sees it: the oracle of tests/fits_layout.rs.

    layout.py astropy DIRECTORY        the FITS files that come with astropy (compressed ones unpacked into DIRECTORY)
    layout.py cases DIRECTORY          corner cases, written into DIRECTORY
    layout.py stdatamodels DIRECTORY   JWST products, written into DIRECTORY
    layout.py asdf DIRECTORY           ASDF files, written into DIRECTORY
    layout.py files PATH...            the given files

Prints JSON: {"files": [{"path", "hdus": [...]} or {"path", "refused": why}]}. Offsets and lengths are in bytes.
"""

import bz2
import gzip
import json
import sys
import warnings
from pathlib import Path

import astropy
from astropy.io import fits
from astropy.io.fits.hdu.compressed import CompImageHDU

KINDS = {
    "PrimaryHDU": "primary",
    "ImageHDU": "image",
    "BinTableHDU": "bin_table",
    "TableHDU": "ascii_table",
    "GroupsHDU": "random_groups",
    "_NonstandardHDU": "nonstandard",
}


def kind(hdu):
    if isinstance(hdu, fits.BinTableHDU) and CompImageHDU.match_header(hdu.header):
        return "compressed_image"
    return KINDS.get(type(hdu).__name__) or {"other": hdu.header["XTENSION"]}


def describe(hdu):
    header = hdu.header
    found = {
        "name": hdu.name or None,
        "version": hdu.ver,
        "kind": kind(hdu),
        # The values of fileinfo(), which a nonstandard HDU does not have.
        "header_offset": hdu._header_offset,
        "data_offset": hdu._data_offset,
        "data_span": hdu._data_size,
    }
    if hdu._data_size < 0 or hdu.size < 0:
        raise ValueError("a data unit of negative size")
    if hdu.size + -hdu.size % 2880 != hdu._data_size:
        return found  # a keyword is repeated: astropy lays out the file by the last one, and shows the first
    found["data_len"] = hdu.size
    if found["kind"] != "random_groups":
        found["shape"] = [header[f"NAXIS{n}"] for n in range(header.get("NAXIS", 0), 0, -1)]
    if header.get("NAXIS", 0) > 0:
        found["bitpix"] = header["BITPIX"]
    if isinstance(hdu, fits.BinTableHDU):
        found["table"] = describe_table(hdu)
    return found


def describe_table(hdu):
    header, columns = hdu.header, hdu.columns
    table = {
        "columns": len(columns),
        "has_logical": any(column.dtype.char == "b" and "L" in column.format for column in columns),
    }
    if header.get("PCOUNT", 0) > 0:
        table["heap"] = {"offset": hdu._data_offset + hdu._theap, "len": hdu.size - hdu._theap}
    if kind(hdu) == "compressed_image":
        table["tiles"] = describe_tiles(hdu)
    return table


def describe_tiles(hdu):
    image = CompImageHDU(bintable=hdu)
    dtype, offset = hdu.columns.dtype.fields["COMPRESSED_DATA"][:2]
    return {
        "descriptor_offset": offset,
        "descriptor_len": dtype.itemsize,
        "algorithm": hdu.header["ZCMPTYPE"],
        "bitpix": hdu.header["ZBITPIX"],
        "shape": list(image.shape),
        "tile_shape": list(image.tile_shape),
    }


def layout(path):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = dict(memmap=False, lazy_load_hdus=False, ignore_missing_end=False, disable_image_compression=True)
            with fits.open(path, **options) as hdus:
                return {"path": str(path), "hdus": [describe(hdu) for hdu in hdus]}
    except Exception as why:  # astropy refuses files with all sorts of exceptions
        return {"path": str(path), "refused": f"{type(why).__name__}: {why}"}


def unpacked(path, directory, number):
    """The path of a file with the content of `path` that begins like a FITS file or claims to be one; else None."""
    openers = {".gz": gzip.open, ".bz2": bz2.open}
    opener = openers.get(path.suffix, open)
    try:
        with opener(path, "rb") as file:
            content = file.read()
    except OSError:
        return None
    if not content.startswith(b"SIMPLE") and ".fit" not in path.name.lower():
        return None
    if opener is open:
        return path
    target = Path(directory) / f"{number}-{path.stem}"
    target.write_bytes(content)
    return target


def astropy_files(directory):
    root = Path(astropy.__file__).parent
    found = sorted(path for path in root.rglob("*") if "data" in path.parent.parts and path.is_file())
    paths = [unpacked(path, directory, number) for number, path in enumerate(found)]
    return [path for path in paths if path]


def main():
    what, *arguments = sys.argv[1:]
    read = layout
    if what == "astropy":
        paths = astropy_files(*arguments)
    elif what == "cases":
        import cases

        paths = cases.write(Path(*arguments))
    elif what == "stdatamodels":
        import products

        paths = products.write(Path(*arguments))
    elif what == "asdf":
        import asdf_files

        paths = asdf_files.write(Path(*arguments))
        read = asdf_files.layout
    else:
        paths = arguments
    json.dump({"files": [read(path) for path in paths]}, sys.stdout, default=int)  # numpy integers


if __name__ == "__main__":
    main()
