"""ASDF files of all sorts, written by asdf where it can and by hand where it cannot, and their layout as asdf sees it."""

import io
import random
import warnings

import asdf
import numpy as np
from asdf.tags.core import Stream
from asdf.util import load_yaml

SEED = 20260420
MAGIC = b"\xd3BLK"
INDEX = b"#ASDF BLOCK INDEX"
HEADER = b"#ASDF 1.0.0\n#ASDF_STANDARD 1.6.0\n"


def written(tree, include_block_index=True, **options):
    """The bytes of a file with this tree."""
    out = io.BytesIO()
    with asdf.config_context() as config:
        config.io_block_size = 512
        asdf.AsdfFile(tree).write_to(out, include_block_index=include_block_index, **options)
    return out.getvalue()


def plane(side, dtype="float32"):
    return np.random.default_rng(SEED).integers(0, 9, (side, side)).astype(dtype)


def roman(side=40, keys=1500):
    """A tree like that of a calibrated exposure of the Roman telescope, of some 60 KB for 1,500 keys."""
    meta = {
        f"keyword_{n:05}": {"value": n * 0.25, "unit": "s", "title": f"What number {n} is about"} for n in range(keys)
    }
    arrays = {"data": "f4", "err": "f2", "dq": "u4", "var_poisson": "f4", "var_rnoise": "f2", "var_flat": "f2"}
    return {"roman": {"meta": meta, **{name: plane(side, dtype) for name, dtype in arrays.items()}}}


def trees():
    yield "empty", {}
    yield "text", {"a": 1, "text": "a line\n...\n# and: another\n" * 3}
    yield "inline", {"a": [1, 2], "data": plane(3)}
    yield "one", {"data": plane(30)}
    yield "several", {"list": [plane(20), plane(30, "i2"), {"deep": [[plane(4, "u1")]]}], "b": plane(50, "f8")}
    yield "roman", roman()
    yield "many", {f"array{n}": np.full(20 + n, n) for n in range(900)}
    yield "empty-array", {"data": np.zeros((0, 4)), "scalar": np.array(5.0), "next": plane(9)}
    whole = plane(30)
    yield "views", {"T": whole.T, "whole": whole, "part": whole[3:9, 2:7], "rows": whole[4:], "next": plane(8)}
    record = np.zeros(7, [("a", "i4"), ("b", "f8"), ("c", "S5")])
    strings = {"ascii": np.array([b"ab", b"cde"]), "ucs4": np.array(["xyz", "ä"])}
    yield "types", {"record": record, **strings, "c8": plane(4, "c8"), "c16": plane(4, "c16"), "bool": plane(5, "?")}
    yield "fortran", {"data": np.asfortranarray(plane(20)), "next": plane(7, ">i4")}
    yield "names", {"a: b": plane(5), "it's": {"{x}": plane(6)}, "-": plane(7), "Über": plane(8), 5: plane(9)}


def files():
    for name, tree in trees():
        inline = {"all_array_storage": "inline"} if name == "inline" else {}
        yield name, written(tree, **inline)
        if name == "inline":
            continue
        yield f"{name}-no-index", written(tree, include_block_index=False)
        yield f"{name}-padded", written(tree, pad_blocks=True)
        yield f"{name}-padded-more", written(tree, pad_blocks=3.0)
        for code in ("zlib", "bzp2", "lz4"):
            yield f"{name}-{code}", written(tree, all_array_compression=code)
    stream = {"data": Stream([20], np.float32), "other": plane(9)}
    yield "stream", written(stream) + plane(20).tobytes()
    yield "stream-empty", written(stream)
    yield "stream-odd", written(stream) + bytes(33)


def by_hand():
    whole = written(trees_named("several"))
    end = whole.index(INDEX)
    body, first, last = whole[:end], whole.index(MAGIC), whole.rindex(MAGIC)
    for name, offsets in (
        ("one-off", [first + 1, last]),
        ("zeros", [0, 0]),
        ("huge", [first, 10**30]),
        ("first", [first]),
        ("reversed", [last, first]),
    ):
        yield f"index-{name}", body + index(offsets)
    yield "index-text", body + INDEX + b"\n%YAML 1.1\n---\n- [\n...\n"
    yield "index-empty", body + INDEX
    for name, tail in (("byte", b"x"), ("zeros", bytes(5000)), ("text", b"a note\n" * 900), ("magic", MAGIC[:3])):
        yield f"trailing-{name}", body + tail
        yield f"trailing-{name}-index", whole + tail
    tree_end = whole.index(b"\n...\n") + 5
    yield "gap", body[:tree_end] + b" " * 777 + body[tree_end:]
    yield "gap-long", body[:tree_end] + bytes(200_000) + body[tree_end:]
    yield "windows", HEADER.replace(b"\n", b"\r\n") + b"%YAML 1.1\r\n---\r\na: 1\r\n...\r\n" + body[tree_end:]
    yield "comments", HEADER + b"# a comment\n#\n" + body[len(HEADER) :]
    yield "no-tree", HEADER + body[tree_end:]
    yield "no-tree-gap", HEADER + bytes(99) + body[tree_end:]
    yield "header-only", HEADER
    yield (
        "flow",
        HEADER
        + b"%YAML 1.1\n---\nd: !<tag:stsci.edu:asdf/core/ndarray-1.0.0> {source: 0, datatype: int8, shape: [2, 3],\n  byteorder: big}\n...\n"
        + MAGIC
        + bytes([0, 48])
        + bytes(8)
        + (6).to_bytes(8, "big") * 3
        + bytes(16)
        + b"abcdef",
    )
    longer = bytearray(body)
    longer[first + 4 : first + 6] = (60).to_bytes(2, "big")
    yield "header-longer", bytes(longer[: first + 54]) + bytes(12) + bytes(longer[first + 54 :])
    for cut in range(10, len(whole), 331):
        yield f"cut-{cut}", whole[:cut]


def mutated():
    """Files in which a few bytes of the block headers are wrong, the same ones each time."""
    chance = random.Random(SEED)
    whole = written(trees_named("several"))
    starts = [n for n in range(len(whole)) if whole.startswith(MAGIC, n)]
    for number in range(300):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 2)):
            content[chance.choice(starts) + chance.randrange(54)] ^= 1 << chance.randrange(8)
        yield f"mutated-{number}", bytes(content)


def trees_named(name):
    return dict(trees())[name]


def index(offsets):
    return INDEX + b"\n%YAML 1.1\n---\n" + b"".join(b"- %d\n" % offset for offset in offsets) + b"...\n"


def write(directory):
    paths = []
    for make in (files, by_hand, mutated):
        for name, content in make():
            paths.append(directory / f"{name}.asdf")
            paths[-1].write_bytes(content)
    return paths


def layout(path):
    """The parts of a file. asdf reads the blocks one after the other, since it would believe a wrong index."""
    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with asdf.open(path, lazy_load=False, memmap=False) as file:
                blocks = [describe(block, len(content)) for block in file._blocks.blocks]
            arrays = arrays_of(load_yaml(path, tagged=True))
    except Exception as why:  # asdf refuses files with all sorts of exceptions
        return {"path": str(path), "refused": f"{type(why).__name__}: {why}"}
    for number, block in enumerate(blocks):
        last = block["kind"]["asdf_block"]["streamed"]
        add_array(block, arrays.get(number) or (arrays.get(-1) if last else None))
    first = blocks[0]["header_offset"] if blocks else None
    return {"path": str(path), "hdus": [tree(content, first), *blocks, *index_of(content, blocks)]}


def describe(block, size):
    header = block.header
    if header["used_size"] > header["allocated_size"]:
        raise ValueError("a block that uses more than it has")
    streamed = bool(header["flags"] & 1)
    rest = size - block.data_offset
    used, allocated = (rest, rest) if streamed else (header["used_size"], header["allocated_size"])
    code = header["compression"].rstrip(b"\0").decode() or None
    kind = {
        "compression": code,
        "unpacked_len": used if streamed else header["data_size"],
        "streamed": streamed or None,
    }
    return {
        "kind": {"asdf_block": kind},
        "header_offset": block.offset - len(MAGIC),
        "data_offset": block.data_offset,
        "data_len": used,
        "data_span": allocated,
    }


def arrays_of(node, path=()):
    """The arrays in blocks: by the number of the block what most says of it."""
    found = {}
    if isinstance(node, dict) and "core/ndarray-" in getattr(node, "_tag", "") and isinstance(node.get("source"), int):
        plain = not node.get("offset") and "strides" not in node
        found[node["source"]] = {"name": ".".join(map(str, path)), "plain": plain, "node": node}
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        for source, array in arrays_of(child, (*path, key)).items():
            if source not in found or rank(array) > rank(found[source]):
                found[source] = array
    return found


def rank(array):
    sizes = [axis for axis in array["node"]["shape"] if axis != "*"]
    return array["plain"], int(np.prod(sizes))


def add_array(block, array):
    kind = block["kind"]["asdf_block"]
    kind["array"] = None
    if not array:
        return
    datatype, shape = array["node"]["datatype"], list(array["node"]["shape"])
    if isinstance(datatype, list):
        datatype = f"{datatype[0]}[{datatype[1]}]" if datatype[0] in ("ascii", "ucs4") else "record"
    if shape[:1] == ["*"]:
        shape[0] = kind["unpacked_len"] // (int(np.prod(shape[1:])) * np.dtype(str(datatype)).itemsize)
    kind["array"] = {"datatype": str(datatype), "shape": shape}
    if array["name"].isascii():
        block["name"] = array["name"]
    if array["plain"] and not kind["compression"] and datatype != "record":
        block["shape"] = shape


def tree(content, first_block):
    end = content.find(b"...\n", content.find(b"\n...\r\n" if b"\r" in content[:20] else b"\n..."))
    unit = {"kind": "asdf_tree", "header_offset": 0, "data_len": 0}
    if b"%YAML" in content[:200] and b"\r" not in content[:20]:
        unit["data_offset"] = end + 4
        unit["data_span"] = (first_block - end - 4) if first_block else 0
    return unit


def index_of(content, blocks):
    streamed = blocks and blocks[-1]["kind"]["asdf_block"]["streamed"]
    if not blocks or streamed:
        return []
    start = blocks[-1]["data_offset"] + blocks[-1]["data_span"]
    if content[start:].startswith(INDEX):
        return [{"kind": "asdf_index", "header_offset": start, "data_offset": len(content), "data_span": 0}]
    return []
