"""Run one workload in this process and print how long it took and a hash of what it found, as JSON.

Imports and the preparation of the workload are done before the clock starts, so that it measures access to data and not
the start of Python.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import time
import warnings
from pathlib import Path
from typing import Any

from server import SETTLE_SECONDS, forget_log
from sources import DownloadSource, NotApplicable, PathSource, Source, UrlSource
from workloads import WORKLOADS, Workload


def main() -> None:
    """Measure the workload that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--access", choices=["path", "download", "url"], default="path")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--endpoint", default="")
    parser.add_argument("--bucket", default="")
    parser.add_argument("--log", default="", metavar="URL", help="server that is to forget its log after a preparation")
    options = parser.parse_args()
    workload = WORKLOADS[options.workload]
    source = make_source(options)
    for module in (*workload.modules, *source.modules):
        importlib.import_module(module)
    warnings.simplefilter("ignore")
    try:
        prepare(workload, source, options.log)
        started = time.perf_counter()
        found = workload.run(source, *workload.files)
        seconds = time.perf_counter() - started
    except NotApplicable as reason:
        print(json.dumps({"not_applicable": str(reason)}))
        return
    print(json.dumps({"seconds": seconds, "digest": digest(found)}))


def prepare(workload: Workload, source: Source, log: str) -> None:
    """Do what comes before the work; the server counts from its end."""
    if workload.prepare is None:
        return
    workload.prepare(source, *workload.files)
    time.sleep(SETTLE_SECONDS)
    if log:
        forget_log(log)


def make_source(options: argparse.Namespace) -> Source:
    """Return the way to the files."""
    if options.access == "path":
        return PathSource(options.root)
    if options.access == "download":
        return DownloadSource(options.root, options.endpoint, options.bucket)
    return UrlSource(options.endpoint, options.bucket)


def digest(found: Any) -> str:
    """Return a short hash of a result, whatever the byte order of its arrays."""
    checksum = hashlib.sha256()
    for item in found if isinstance(found, list) else [found]:
        if hasattr(item, "tobytes"):
            checksum.update(item.astype(item.dtype.newbyteorder("=")).tobytes())
        else:
            checksum.update(repr(item).encode())
    return checksum.hexdigest()[:16]


if __name__ == "__main__":
    main()
