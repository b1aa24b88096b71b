#!/usr/bin/env python3
"""Put all files of a folder into a bucket, with the credentials of the environment."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

START_SECONDS = 60.0


def main() -> int:
    """Load the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint", metavar="URL")
    parser.add_argument("bucket", metavar="BUCKET")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    config = Config(s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=options.endpoint, region_name="us-east-1", config=config)
    make_bucket(client, options.bucket)
    for path in sorted(path for path in options.folder.rglob("*") if path.is_file()):
        client.upload_file(str(path), options.bucket, str(path.relative_to(options.folder)))
    return 0


def make_bucket(client: Any, bucket: str) -> None:
    """Make the bucket unless it exists; wait for a server that has just been started."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if bucket not in [known["Name"] for known in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=bucket)
            return
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
