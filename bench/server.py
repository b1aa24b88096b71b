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

# A request that is under way when a program ends still counts: wait until the server has seen the last of it.
SETTLE_SECONDS = 0.3


@dataclass(frozen=True)
class Shape:
    """The network that the server imitates: milliseconds and 10^6 bytes per second."""

    ttfb_ms: float
    total_mbps: float
    per_connection_mbps: float | None = None
    connect_ms: float = 0.0

    def __str__(self) -> str:
        """Describe the network in a line."""
        parts = [f"{self.ttfb_ms:g} ms to first byte"]
        if self.connect_ms:
            parts.append(f"{self.connect_ms:g} ms more on a new connection")
        if self.per_connection_mbps:
            parts.append(f"{self.per_connection_mbps:g} MB/s per connection")
        return ", ".join([*parts, f"{self.total_mbps:g} MB/s in all"])


NETWORKS: dict[str, Shape] = {
    # Amazon S3 as seen from a machine in the same region.
    "region": Shape(ttfb_ms=30.0, total_mbps=650.0, per_connection_mbps=90.0),
    # The same from an astronomer's home, by a line of 100 Mbit/s: handshakes take two round trips more.
    "home": Shape(ttfb_ms=100.0, total_mbps=12.0, connect_ms=200.0),
}


@dataclass(frozen=True)
class Traffic:
    """What the server saw."""

    gets: int
    metadata: int
    bytes: int
    rounds: int


@dataclass(frozen=True)
class Server:
    """A running server; one that is not ours has no shape, and does not tell what it saw."""

    endpoint: str
    bucket: str
    shape: Shape | None = None

    def clear(self) -> None:
        """Forget all requests so far."""
        if self.shape:
            forget_log(self.endpoint)

    def traffic(self) -> Traffic | None:
        """Count the requests since the last clear."""
        if not self.shape:
            return None
        with urllib.request.urlopen(f"{self.endpoint}/_lab/requests") as answer:
            requests = json.load(answer)
        gets = [request for request in requests if request["op"] == "GetObject"]
        size = sum(request["bytes"] for request in gets)
        return Traffic(len(gets), len(requests) - len(gets), size, rounds(requests))


def rounds(requests: list[dict[str, Any]]) -> int:
    """Count the requests that came after the answer to one before them: what latency costs."""
    count, end = 0, float("-inf")
    for request in sorted(requests, key=lambda request: request["start_ms"]):
        if request["start_ms"] >= end:
            count += 1
            end = request["start_ms"] + request["duration_ms"]
    return count


def forget_log(endpoint: str) -> None:
    """Make a server forget all requests so far."""
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/_lab/clear", method="POST")).close()


@contextmanager
def lab(binary: str, root: Path, bucket: str, shape: Shape, work: Path) -> Iterator[Server]:
    """Run fitsfs-lab on the folders of `root`, each of which is a bucket."""
    port_file = work / "lab.port"
    # That of the server before, for another network, would be taken for this one's.
    port_file.unlink(missing_ok=True)
    command = [binary, "serve", "--root", root, "--port", "0", "--port-file", port_file, "--anonymous"]
    for name, value in asdict(shape).items():
        if value is not None:
            command += [f"--{name.replace('_', '-')}", f"{value:g}"]
    if "--synthetic" in output([binary, "serve", "--help"]):
        command += crowd(bucket, root / bucket)
    with (work / "lab.log").open("wb") as log:
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
    try:
        yield Server(f"http://127.0.0.1:{_port(port_file, process)}", bucket, shape)
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
