#!/usr/bin/env python3
"""Put all files of a folder into a container of Azurite, or a bucket of an emulator of Google Cloud Storage."""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

START_SECONDS = 60.0
# Those of every Azurite, which are public.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def main() -> int:
    """Load the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--google", action="store_true", help="the server is of Google Cloud Storage")
    parser.add_argument("endpoint", metavar="URL")
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    put = put_google if options.google else put_azure
    put(options.endpoint, options.container, None, b"")
    for path in sorted(path for path in options.folder.rglob("*") if path.is_file()):
        put(options.endpoint, options.container, str(path.relative_to(options.folder)), path.read_bytes())
    return 0


def put_azure(endpoint: str, container: str, name: str | None, data: bytes) -> None:
    """Make the container, or a blob in it, by a request that is signed with the shared key."""
    path = f"/{ACCOUNT}/{container}" + (f"/{quote(name)}" if name else "")
    now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    own = {"x-ms-date": now, "x-ms-version": "2021-12-02"} | ({"x-ms-blob-type": "BlockBlob"} if name else {})
    lines = "".join(f"{header}:{own[header]}\n" for header in sorted(own))
    kind = "application/octet-stream"
    text = f"PUT\n\n\n{len(data) or ''}\n\n{kind}\n\n\n\n\n\n\n{lines}/{ACCOUNT}{path}"
    text += "" if name else "\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)).decode()
    headers = own | {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Type": kind}
    send("PUT", endpoint + path + ("" if name else "?restype=container"), headers, data)


def put_google(endpoint: str, bucket: str, name: str | None, data: bytes) -> None:
    """Make the bucket, or an object in it."""
    if name is None:
        body = json.dumps({"name": bucket}).encode()
        send("POST", f"{endpoint}/storage/v1/b", {"Content-Type": "application/json"}, body)
        return
    url = f"{endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
    send("POST", url, {"Content-Type": "application/octet-stream"}, data)


def send(method: str, url: str, headers: dict[str, str], data: bytes) -> None:
    """Send a request; wait for a server that has just been started."""
    deadline = time.monotonic() + START_SECONDS
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
    while True:
        try:
            with urllib.request.urlopen(request):  # noqa: S310
                return
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
