"""The systems that are compared: each is started with an empty cache, and gone after its measurement."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from server import Server, output

START_SECONDS = 30.0
# What nobody would download for a look: a file of so many bytes, or a transfer of so many seconds.
LARGEST_DOWNLOAD = 2_000_000_000
LONGEST_DOWNLOAD_SECONDS = 300.0


@dataclass
class Context:
    """What systems are started with."""

    server: Server
    data: Path
    work: Path
    fitsfs: str
    environment: dict[str, str]

    @property
    def bucket(self) -> Path:
        """The folder with the files of the bucket."""
        return self.data / self.server.bucket


@dataclass
class Session:
    """A system that was started: the options of the probe, and how to start it anew with what it keeps on disk."""

    options: list[str]
    restart: Callable[[], None] | None = None


class System(ABC):
    """A way to files in a bucket."""

    name: str
    title: str

    def missing(self, context: Context) -> str:
        """Say what keeps the system from being measured; empty if nothing does."""
        return ""

    def refused(self, context: Context, names: Sequence[str]) -> str:
        """Say why the system is not measured on these files; empty if it is."""
        return ""

    @abstractmethod
    def started(self, context: Context, names: Sequence[str]) -> AbstractContextManager[Session]:
        """Start the system, yield it, stop the system."""


class Local(System):
    """Local disk, read through an empty page cache: what no network can beat."""

    name = "local"
    title = "local disk"

    @contextmanager
    def started(self, context: Context, names: Sequence[str]) -> Iterator[Session]:
        """Drop the files from the page cache."""
        for name in names:
            forget(context.bucket / name)
        yield Session(["--root", str(context.bucket)])


class Download(System):
    """Fetch the whole file with boto3 into a local directory, then open it."""

    name = "download"
    title = "boto3 download"

    def refused(self, context: Context, names: Sequence[str]) -> str:
        """Refuse what is too large."""
        sizes = [(context.bucket / name).stat().st_size for name in names]
        if max(sizes) > LARGEST_DOWNLOAD:
            return "too large"
        shape = context.server.shape
        seconds = sum(sizes) / (shape.total_mbps * 1e6) if shape else 0.0
        return "takes too long" if seconds > LONGEST_DOWNLOAD_SECONDS else ""

    @contextmanager
    def started(self, context: Context, names: Sequence[str]) -> Iterator[Session]:
        """Make an empty directory."""
        with empty_folder(context.work / "downloads") as folder:
            place = ["--endpoint", context.server.endpoint, "--bucket", context.server.bucket]
            yield Session(["--access", "download", "--root", str(folder), *place])


class Fsspec(System):
    """Astropy opens URLs by fsspec and s3fs."""

    name = "fsspec"
    title = "astropy + fsspec"

    @contextmanager
    def started(self, context: Context, names: Sequence[str]) -> Iterator[Session]:
        """There is nothing to start."""
        yield Session(["--access", "url", "--endpoint", context.server.endpoint, "--bucket", context.server.bucket])


class Mount(System):
    """A FUSE filesystem that runs in the foreground until it is unmounted."""

    program: str

    @abstractmethod
    def command(self, context: Context, mountpoint: Path, cache: Path) -> list[str]:
        """Return the command that mounts the bucket."""

    def missing(self, context: Context) -> str:
        """Look for the program."""
        return "" if shutil.which(self.program) else f"{self.program} is not on the PATH"

    @contextmanager
    def started(self, context: Context, names: Sequence[str]) -> Iterator[Session]:
        """Mount the bucket with an empty cache; unmount it."""
        with empty_folder(context.work / "cache") as cache, empty_folder(context.work / "mnt") as mountpoint:
            command = self.command(context, mountpoint, cache)
            processes = [self.run(context, command, mountpoint)]

            def restart() -> None:
                unmount(mountpoint)
                stop(processes.pop())
                os.sync()
                for path in cache.rglob("*"):
                    if path.is_file():
                        forget(path)
                processes.append(self.run(context, command, mountpoint))

            try:
                yield Session(["--root", str(mountpoint)], restart)
            finally:
                unmount(mountpoint)
                for process in processes:
                    stop(process)

    def run(self, context: Context, command: list[str], mountpoint: Path) -> subprocess.Popen[bytes]:
        """Run the filesystem until it answers."""
        with (context.work / f"{self.name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=context.environment)
        try:
            wait_for_mount(mountpoint, process)
        except RuntimeError:
            stop(process)
            raise
        return process


class Rclone(Mount):
    """`rclone mount` with its full cache."""

    name = "rclone"
    title = "rclone mount"
    program = "rclone"

    def command(self, context: Context, mountpoint: Path, cache: Path) -> list[str]:
        """Name the bucket by a connection string: no configuration file is read."""
        remote = f":s3,provider=Other,endpoint='{context.server.endpoint}':{context.server.bucket}"
        options = ["--read-only", "--vfs-cache-mode", "full", "--use-server-modtime", "--cache-dir", str(cache)]
        return ["rclone", "mount", remote, str(mountpoint), *options, "--config", os.devnull]


class S3fsFuse(Mount):
    """The C++ filesystem s3fs."""

    name = "s3fs-fuse"
    title = "s3fs-fuse"
    program = "s3fs"

    def command(self, context: Context, mountpoint: Path, cache: Path) -> list[str]:
        """Return the command that mounts a public bucket."""
        options = f"url={context.server.endpoint},use_path_request_style,ro,use_cache={cache},public_bucket=1"
        return ["s3fs", context.server.bucket, str(mountpoint), "-f", "-o", options]


class MountS3(Mount):
    """Mountpoint for Amazon S3, where it is installed."""

    name = "mount-s3"
    title = "Mountpoint for S3"
    program = "mount-s3"

    def command(self, context: Context, mountpoint: Path, cache: Path) -> list[str]:
        """Return the command that mounts a public bucket, with a cache on disk."""
        place = ["--endpoint-url", context.server.endpoint, "--force-path-style", "--region", "us-east-1"]
        options = ["--read-only", "--no-sign-request", "--maximum-throughput-gbps", "10", "--cache", str(cache)]
        return ["mount-s3", context.server.bucket, str(mountpoint), "--foreground", *place, *options]


class Fitsfs(Mount):
    """The system of this project, with its defaults."""

    name = "fitsfs"
    title = "fitsfs"

    def missing(self, context: Context) -> str:
        """Look for the binary."""
        binary = self.binary(context)
        return "" if shutil.which(binary) else f"{binary} does not exist"

    def binary(self, context: Context) -> str:
        """Return the path of the binary."""
        return context.fitsfs

    def place(self, server: Server) -> tuple[str, list[str]]:
        """Return the source, and the options that it is reached by."""
        return f"s3://{server.bucket}", ["--endpoint-url", server.endpoint, "--no-sign-request"]

    def command(self, context: Context, mountpoint: Path, cache: Path) -> list[str]:
        """Return the command that mounts a public bucket."""
        source, options = self.place(context.server)
        binary = self.binary(context)
        if "--cache-dir" in output([binary, "mount", "--help"]):
            # A remount is soon, but not always within a minute.
            options += ["--cache-dir", str(cache), "--metadata-ttl", "10m"]
        return [binary, "mount", source, str(mountpoint), "--foreground", *options]


class Baseline(Fitsfs):
    """Another binary of this project, to see what a change does: $FITSFS_BASELINE."""

    name = "baseline"
    title = "fitsfs before"

    def binary(self, context: Context) -> str:
        """Return the path of the binary."""
        return os.environ["FITSFS_BASELINE"]


class Elsewhere(Fitsfs):
    """The same bucket as another store than S3: fitsfs-lab speaks what a reader needs of each."""

    def missing(self, context: Context) -> str:
        """Look for the binary, and for a server that speaks more than S3."""
        return super().missing(context) if context.server.shape else "the server speaks S3 only"


class Azure(Elsewhere):
    """Azure Blob Storage."""

    name = "fitsfs-azure"
    title = "fitsfs, Azure"

    def place(self, server: Server) -> tuple[str, list[str]]:
        """Name the bucket as a container of an account."""
        return f"az://lab/{server.bucket}", ["--endpoint-url", f"{server.endpoint}/_azure/lab", "--no-sign-request"]


class Google(Elsewhere):
    """Google Cloud Storage."""

    name = "fitsfs-gcs"
    title = "fitsfs, GCS"

    def place(self, server: Server) -> tuple[str, list[str]]:
        """Name the bucket."""
        return f"gs://{server.bucket}", ["--endpoint-url", f"{server.endpoint}/_gcs", "--no-sign-request"]


class Web(Elsewhere):
    """A web server whose index is JSON."""

    name = "fitsfs-http"
    title = "fitsfs, HTTP"

    def place(self, server: Server) -> tuple[str, list[str]]:
        """Name the bucket as a folder."""
        return f"{server.endpoint}/_web/{server.bucket}/", []


PEERS: list[System] = [Local(), Download(), Fsspec(), Rclone(), S3fsFuse(), MountS3()]
OURS: list[System] = [Baseline(), Fitsfs()] if "FITSFS_BASELINE" in os.environ else [Fitsfs()]
STORES: list[System] = [Azure(), Google(), Web()]
SYSTEMS: dict[str, System] = {system.name: system for system in (*PEERS, *OURS, *STORES)}


def environment() -> dict[str, str]:
    """Return an environment in which no system finds credentials, proxies or instance metadata of this machine."""
    dropped = ("AWS_", "RCLONE_", "FITSFS_", "STORAGE_", "S3_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return kept | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}


@contextmanager
def empty_folder(path: Path) -> Iterator[Path]:
    """Make a folder, and remove it with all its contents."""
    path.mkdir()
    try:
        yield path
    finally:
        if not is_mounted(path):
            shutil.rmtree(path)


def wait_for_mount(mountpoint: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the filesystem answers."""
    deadline = time.monotonic() + START_SECONDS
    while not is_mounted(mountpoint):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args[0]} does not mount")
        time.sleep(0.02)
    mountpoint.stat()


def is_mounted(path: Path) -> bool:
    """Look into the kernel's table: a stat could hang on a dead mount."""
    return any(line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def unmount(mountpoint: Path) -> None:
    """Unmount politely, then lazily."""
    for command in (["fusermount3", "-u"], ["fusermount3", "-u"], ["umount", "-l"], ["fusermount3", "-uz"]):
        if not is_mounted(mountpoint):
            return
        if subprocess.run([*command, str(mountpoint)], capture_output=True, check=False).returncode:
            time.sleep(0.5)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that is about to end; end it if it does not."""
    for end in (lambda: None, process.terminate, process.kill):
        end()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue
        return


def forget(path: Path) -> None:
    """Drop a file from the page cache, and nothing else from it."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def remember(path: Path) -> None:
    """Read a file, but not its holes, into the page cache: the server's disk is not what is measured."""
    with path.open("rb", buffering=0) as file:
        end = 0
        while (start := next_data(file.fileno(), end)) is not None:
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            file.seek(start)
            while file.tell() < end:
                file.read(min(end - file.tell(), 8 << 20))


def next_data(descriptor: int, offset: int) -> int | None:
    """Return where the next piece of a sparse file starts."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
