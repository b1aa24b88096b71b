"""The S3 server that everything is measured against, and what it saw."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Shape:
    """The network that the server imitates: Amazon S3 as seen from a machine in the same region."""

    ttfb_ms: float = 30.0
    per_connection_mbps: float = 90.0
    total_mbps: float = 650.0


@dataclass(frozen=True)
class Traffic:
    """What the server saw."""

    gets: int
    metadata: int
    bytes: int


@dataclass(frozen=True)
class Server:
    """A running server; `counted` tells whether it logs requests."""

    endpoint: str
    bucket: str
    counted: bool

    def clear(self) -> None:
        """Forget all requests so far."""
        if self.counted:
            urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/_lab/clear", method="POST")).close()

    def traffic(self) -> Traffic | None:
        """Count the requests since the last clear."""
        if not self.counted:
            return None
        with urllib.request.urlopen(f"{self.endpoint}/_lab/requests") as answer:
            requests = json.load(answer)
        gets = [request for request in requests if request["op"] == "GetObject"]
        return Traffic(len(gets), len(requests) - len(gets), sum(request["bytes"] for request in gets))


@contextmanager
def lab(binary: str, root: Path, bucket: str, shape: Shape, work: Path) -> Iterator[Server]:
    """Run fitsfs-lab on the folders of `root`, each of which is a bucket."""
    port_file = work / "lab.port"
    command = [binary, "serve", "--root", root, "--port", "0", "--port-file", port_file, "--anonymous"]
    for name, value in asdict(shape).items():
        command += [f"--{name.replace('_', '-')}", f"{value:g}"]
    if "--synthetic" in output([binary, "serve", "--help"]):
        command += crowd(bucket, root / bucket)
    with (work / "lab.log").open("wb") as log:
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
    try:
        yield Server(f"http://127.0.0.1:{_port(port_file, process)}", bucket, counted=True)
    finally:
        process.terminate()
        process.wait()


def crowd(bucket: str, root: Path) -> list[str]:
    """Return options for neighbours: 5,000 beside each directory on the way to a file, 1,000 beside the files.

    An archive has millions of keys; a system that lists what it was not asked for would get away with it otherwise.
    """
    options = []
    for folder in (root, *sorted(path for path in root.rglob("*") if path.is_dir())):
        prefix = "" if folder == root else f"{folder.relative_to(root)}/"
        children = list(folder.iterdir())
        if any(child.is_dir() for child in children):
            options += ["--synthetic", f"{bucket}:{prefix}:5000:d"]
        if any(child.is_file() for child in children):
            options += ["--synthetic", f"{bucket}:{prefix}:1000"]
    return options


def _port(port_file: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if port_file.exists() and (text := port_file.read_text().strip()):
            return int(text)
        time.sleep(0.02)
    raise RuntimeError(f"the server does not start, see {port_file.with_name('lab.log')}")


def output(command: list[Any]) -> str:
    """Return what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
