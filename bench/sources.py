"""Three ways for a program to get at a file: by path, by download, and by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, Protocol


class NotApplicable(Exception):  # noqa: N818 - not an error
    """The system has no way to do this."""


class Source(Protocol):
    """Where a workload's files come from."""

    modules: tuple[str, ...]

    def fits(self, name: str, **options: Any) -> Any:
        """Open a file with astropy."""

    def pixels(self, hdu: Any) -> Any:
        """Return what a cutout is sliced from."""

    def asdf(self, name: str) -> Any:
        """Open an ASDF file, to read only what is used of it."""

    def raw(self, name: str) -> BinaryIO:
        """Open a file as bytes."""

    def path(self, name: str) -> str:
        """Return a path for a tool that takes no URL."""


class PathSource:
    """Files in a directory, mounted or not: programs need no change."""

    modules: tuple[str, ...] = ()

    def __init__(self, root: Path) -> None:
        """Take the directory that shows the bucket."""
        self.root = root

    def fits(self, name: str, **options: Any) -> Any:
        """Open a file with astropy."""
        from astropy.io import fits

        return fits.open(self.path(name), **options)

    def pixels(self, hdu: Any) -> Any:
        """Return the image, mapped into memory."""
        return hdu.data

    def asdf(self, name: str) -> Any:
        """Open an ASDF file, its arrays mapped into memory when they are used."""
        import asdf

        return asdf.open(self.path(name), lazy_load=True, memmap=True)

    def raw(self, name: str) -> BinaryIO:
        """Open a file as bytes, without a buffer of Python's own."""
        return open(self.path(name), "rb", buffering=0)  # noqa: PTH123 - as users write it

    def path(self, name: str) -> str:
        """Return the path of a file."""
        return str(self.root / name)


class DownloadSource(PathSource):
    """Files that are fetched as a whole by boto3 when they are needed first."""

    modules = ("boto3",)

    def __init__(self, root: Path, endpoint: str, bucket: str) -> None:
        """Take the directory to fetch into."""
        super().__init__(root)
        self.endpoint = endpoint
        self.bucket = bucket

    def path(self, name: str) -> str:
        """Return the path of the fetched file."""
        path = self.root / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._client().download_file(self.bucket, name, str(path))
        return str(path)

    def _client(self) -> Any:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        config = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"})
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", config=config)


class UrlSource:
    """URLs that astropy opens through fsspec: programs have to say so, and to use sections."""

    modules = ("fsspec", "s3fs")

    def __init__(self, endpoint: str, bucket: str) -> None:
        """Take the place of the bucket."""
        self.bucket = bucket
        self.options = {"anon": True, "endpoint_url": endpoint}

    def fits(self, name: str, **options: Any) -> Any:
        """Open a URL with astropy, with fsspec's defaults."""
        from astropy.io import fits

        options.pop("memmap", None)
        return fits.open(f"s3://{self.bucket}/{name}", use_fsspec=True, fsspec_kwargs=self.options, **options)

    def pixels(self, hdu: Any) -> Any:
        """Return a section: data would load the whole image."""
        return hdu.section

    def asdf(self, name: str) -> Any:
        """Open a URL with asdf, which cannot map it and loads the arrays that are used."""
        import asdf

        return asdf.open(self.raw(name), lazy_load=True)

    def raw(self, name: str) -> BinaryIO:
        """Open a URL as bytes."""
        import fsspec

        return fsspec.open(f"s3://{self.bucket}/{name}", "rb", **self.options).open()

    def path(self, name: str) -> str:
        """There is none."""
        raise NotApplicable("needs a path")
