"""Corner cases of the FITS format, written by astropy where it can and by hand where it refuses to."""

import random

import numpy as np
from astropy.io import fits

BLOCK = 2880
SEED = 20260420


def block(*cards, fill=b" "):
    """A header of these cards, without END unless given."""
    content = b"".join(card.encode("latin1").ljust(80) for card in cards)
    return content + fill * (-len(content) % BLOCK)


def padded(data):
    return data + bytes(-len(data) % BLOCK)


def image(shape, dtype="float32", **keywords):
    hdu = fits.ImageHDU(np.zeros(shape, dtype))
    hdu.header.update({key.upper(): value for key, value in keywords.items()})
    return hdu


def many_extensions():
    return fits.HDUList([fits.PrimaryHDU()] + [image((20 + n, 30), extname="SCI", extver=n) for n in range(1, 40)])


def images():
    for dtype in ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"):
        for shape in ((1,), (7, 5), (3, 4, 5), (2, 1, 3, 1, 2), (0,), (4, 0, 3)):
            name = f"image-{dtype}-{'x'.join(map(str, shape))}"
            yield name, [fits.PrimaryHDU(np.zeros(shape, dtype)), image(shape, dtype)]
    scaled = fits.ImageHDU(np.arange(12, dtype="float32").reshape(3, 4))
    scaled.scale("int16", bzero=3.5, bscale=0.25)
    scaled.header["BLANK"] = -32768
    yield "scaled", [fits.PrimaryHDU(), scaled]
    yield "many-axes", [fits.PrimaryHDU(np.zeros((1,) * 30))]


def tables():
    formats = ["L", "3X", "17X", "B", "2I", "J", "K", "5A", "E", "D", "C", "M", "0D", "PJ()", "QD()"]
    arrays = {"PJ()": [[1], [2, 3]], "QD()": [[1.5], []], "0D": None, "3X": np.zeros((2, 3), bool), "17X": np.zeros((2, 17), bool)}
    columns = [fits.Column(f"c{n}", form, array=arrays.get(form)) for n, form in enumerate(formats)]
    for form, column in zip(formats, columns):
        if form == "0D":
            continue  # astropy writes no table whose rows have no bytes
        yield f"table-{form.strip('()')}", [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column], nrows=2)]
    yield "table-all", [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, nrows=2), image((3,))]
    yield "table-empty", [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns[:3], nrows=0), image((3,))]
    wide = [fits.Column(f"c{n}", "J") for n in range(999)]
    yield "table-999", [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(wide, nrows=3)]
    ascii_columns = [fits.Column("a", "I6", array=[1, 2]), fits.Column("b", "A10", array=["x", "yy"]), fits.Column("c", "E12.4", array=[1, 2])]
    yield "table-ascii", [fits.PrimaryHDU(), fits.TableHDU.from_columns(ascii_columns), image((3,))]


def compressed():
    noise = np.random.default_rng(SEED).integers(0, 1000, (60, 80))
    for algorithm in ("RICE_1", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS"):
        for tile in (None, (10, 16), (60, 80)):
            if algorithm == "HCOMPRESS_1" and tile is None:
                continue
            hdu = fits.CompImageHDU(noise.astype("int32"), compression_type=algorithm, tile_shape=tile, name="SCI")
            yield f"compressed-{algorithm}-{tile}", [fits.PrimaryHDU(), hdu, image((3,))]
    yield "compressed-float", [fits.PrimaryHDU(), fits.CompImageHDU(noise.astype("float32"))]
    yield "compressed-cube", [fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((4, 10, 12), "int16"), tile_shape=(2, 5, 6))]


def groups():
    data = fits.GroupData(np.zeros((7, 1, 2, 3), "float32"), parnames=["U", "V"], pardata=[np.zeros(7), np.zeros(7)], bitpix=-32)
    yield "groups", [fits.GroupsHDU(data), image((4,))]


def headers():
    long = fits.PrimaryHDU()
    long.header.extend([(f"KEY{n}", n, "a card of many") for n in range(10_000)])
    yield "cards-10000", [long, image((3, 3))]
    for count in range(30, 38):
        edge = fits.PrimaryHDU()
        edge.header.extend([(f"KEY{n}", n) for n in range(count)])
        yield f"cards-edge-{count}", [edge, image((3, 3))]
    odd = image((3, 3), extname="lower Case")
    odd.header["HIERARCH ESO DET CHIP"] = "value"
    odd.header["LONG"] = "a long string & with quote's " * 20
    odd.header["HISTORY"] = "NAXIS1  = 77"
    odd.header["COMMENT"] = "END"
    yield "conventions", [fits.PrimaryHDU(), odd, image((3,), extname="A name that is longer than a card is wide " * 4)]
    named = fits.PrimaryHDU(np.zeros(3))
    named.header["EXTNAME"], named.header["EXTVER"] = "FIRST", 4
    yield "named", [named, image((3,), extname="", extver=-2), image((3,), extname="O'Neill  "), many_extensions()[3]]
    yield "many", many_extensions()


IMAGE = ("XTENSION= 'IMAGE   '", "BITPIX  = 16", "NAXIS   = 1", "NAXIS1  = 5", "PCOUNT  = 0", "GCOUNT  = 1")
SIMPLE = ("SIMPLE  =                    T", "BITPIX  = 8", "NAXIS   = 0")


def by_hand():
    simple, last = block(*SIMPLE, "END"), block(*IMAGE, "END") + padded(bytes(10))
    table = ("XTENSION= 'BINTABLE'", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 8", "NAXIS2  = 3", "PCOUNT  = 500", "GCOUNT  = 1")
    table += ("TFIELDS = 1", "TFORM1  = 'PB(9)'", "THEAP   = 400", "END")
    yield "heap-gap", simple + block(*table) + padded(bytes(524)) + last
    for kind, size in (("HDRLET", 2880), ("FITS", 5), ("IUEIMAGE", 4000), ("FOREIGN", 0), ("A3DTABLE", 7)):
        cards = (f"XTENSION= '{kind:<8}'", "BITPIX  = 8", "NAXIS   = 1", f"NAXIS1  = {size}", "PCOUNT  = 0", "GCOUNT  = 1")
        yield f"extension-{kind}", simple + block(*cards, "END") + padded(bytes(size)) + last
    for name, value in (("integer", "5"), ("logical", "T"), ("spaces", "'  x  '"), ("empty", "''"), ("blank", "'   '"), ("quotes", "'a''''b'")):
        yield f"extname-{name}", simple + block(*IMAGE, f"EXTNAME = {value}", "END") + padded(bytes(10))
    yield "twice", simple + block(*IMAGE, "NAXIS1  = 7000", "EXTNAME = 'A'", "EXTNAME = 'B'", "END") + padded(bytes(14000)) + last
    yield "lower-case", simple + block(*(card.lower() if "XT" not in card else card for card in IMAGE), "END") + padded(bytes(10)) + last
    yield "no-standard", block("SIMPLE  =                    F", *SIMPLE[1:], "END") + bytes(1234)
    yield "two-files", (simple + last) * 2
    yield "simple-anywhere", block("SIMPLE =     T", *SIMPLE[1:], "END") + last
    yield "latin1", simple + block(*IMAGE, "OBSERVER= 'Ren\xe9' / \xb5m", "EXTNAME = 'SCI'", "END") + padded(bytes(10)) + last
    yield "nul-padding", block(*SIMPLE, "END", fill=b"\0") + block(*IMAGE, "END", fill=b"\0") + padded(bytes(10)) + last
    yield "naxis-hierarch", simple + block(*IMAGE, "HIERARCH NAXIS1 = 9999", "END") + padded(bytes(10)) + last
    primary = ("SIMPLE  =                    T", "BITPIX  = 16", "NAXIS   = 1", "NAXIS1  = 1000", "PCOUNT  = 500", "GCOUNT  = 2")
    yield "primary-pcount", block(*primary, "END") + padded(bytes(6000)) + last
    group = ("SIMPLE  =                    T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 9", "NAXIS2  = 900", "GROUPS  = T")
    yield "groups-naxis1", block(*group, "PCOUNT  = 3", "GCOUNT  = 4", "END") + padded(bytes(7224)) + last
    yield "groups-no-axes", block(*SIMPLE, "GROUPS  = T", "END") + last


def damaged():
    whole = b"".join((block(*SIMPLE, "END"), *(block(*IMAGE, "END") + padded(bytes(10)) for _ in range(3))))
    for name, tail in (("byte", b"x"), ("zeros", bytes(BLOCK)), ("more-zeros", bytes(5 * BLOCK + 7)), ("text", b"some notes" * 100)):
        yield f"trailing-{name}", whole + tail
    for name, tail in (("blanks", b" " * BLOCK), ("noise", bytes(range(256)) * 45), ("no-end", block(*IMAGE) + bytes(BLOCK))):
        yield f"trailing-{name}", whole + tail
    for cut in range(1, len(whole), 777):
        yield f"cut-{cut}", whole[:cut]
    for what, cards in (("bitpix", IMAGE[:1] + IMAGE[2:]), ("naxis1", IMAGE[:3] + IMAGE[4:]), ("negative", (*IMAGE[:3], "NAXIS1  = -5"))):
        yield f"bad-{what}", whole + block(*cards, "END") + padded(bytes(10))
    yield "huge", whole + block(*IMAGE, "NAXIS   = 3", "NAXIS2  = 9999999999999", "NAXIS3  = 9999999999999", "END")


def mutated():
    """Files in which a few bytes of the headers are wrong, the same ones each time.

    Left alone are the value indicators, the quotes, the END cards and the keyword NAXIS, without which astropy takes data for
    headers: there every reader has its own way of reading what nobody should have written.
    """
    chance = random.Random(SEED)
    whole = block(*SIMPLE, "END") + (block(*IMAGE, "EXTNAME = 'SCI'", "EXTVER  = 2", "END") + padded(bytes(10))) * 2
    cards = [80 * n for n in range(3)] + [BLOCK + 80 * n for n in range(7)] + [3 * BLOCK + 80 * n for n in range(7)]
    columns = [*range(8), *range(10, 40)]
    for number in range(500):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            card = chance.choice(cards)
            position = card + chance.choice([*range(10, 40)] if whole[card:].startswith(b"NAXIS ") else columns)
            wrong = chance.choice(b"0123456789 -.TEX") if chance.random() < 0.9 else chance.choice([0, 9, 0x7F, 0xE9])
            if content[position] not in b"'=" and wrong not in b"'=/":
                content[position] = wrong
        yield f"mutated-{number}", bytes(content)


def write(directory):
    paths = []
    for make in (images, tables, compressed, groups, headers):
        for name, hdus in make():
            paths.append(directory / f"{name}.fits")
            fits.HDUList(hdus).writeto(paths[-1], checksum=len(paths) % 2 == 0, output_verify="silentfix")
    for make in (by_hand, damaged, mutated):
        for name, content in make():
            paths.append(directory / f"{name}.fits")
            paths[-1].write_bytes(content)
    return paths
