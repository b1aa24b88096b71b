"""What the benchmark does with files, as an astronomer would write it. A workload is a function of a few lines.

`fits` opens a file, `pixels` cuts out of an image, `asdf` opens an ASDF file, `raw` opens a file as bytes, `path` gives
its path for tools that take no URL. What the function returns is hashed, and has to be the same in all systems. A slice
of a mapped image has to be copied: only that reads it.

`needed` is how many bytes of the files the result cannot do without: the headers up to the HDU (a chain is walked from
its beginning), and the pixels, rows or tiles themselves. `prepare` is done before the clock starts, on the same mount.

A module holds the workloads of one kind of access; importing it registers them.
"""

from __future__ import annotations

from workloads import cubes, headers, images, many, positions, tables, tiles
from workloads.registry import WORKLOADS, Workload

__all__ = ["WORKLOADS", "Workload", "cubes", "headers", "images", "many", "positions", "tables", "tiles"]
