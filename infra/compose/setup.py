"""Before anything serves: refuse example secrets in reach of others, make the bucket, publish the bundled release.

Run by docker-compose.yml in the gateway's image; with everything done already it changes nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError

from contracts.release.default_store import add_bundled
from contracts.store.file_store import FileStore
from contracts.store.urls import open_store
from service.address import is_loopback

RELEASES = Path("/setup/releases")
SECRETS = Path("/run/secrets")
EXAMPLE = "example-for-this-machine-only"
"""Stands in each of the example secrets, and in no other."""


def examples(folder: Path) -> list[str]:
    """The names of the secrets that are the repository's examples."""
    return sorted(file.name for file in folder.iterdir() if EXAMPLE in file.read_text(encoding="utf-8"))


def make_bucket(name: str) -> None:
    """Make it, unless it is there."""
    store = boto3.client("s3")
    try:
        store.head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        store.create_bucket(Bucket=name)


def main() -> None:
    published = os.environ["PUBLISHED_ON"]
    if not is_loopback(published) and (found := examples(SECRETS)):
        sys.exit(
            f"error: {published} is in reach of others and {', '.join(found)} are the repository's examples: run "
            "`make secrets` first, or leave STARS_PUBLISH at 127.0.0.1"
        )
    store = os.environ["STARS_STORE"]
    make_bucket(urlsplit(store).netloc)
    add_bundled(FileStore(RELEASES), open_store(store))


if __name__ == "__main__":
    main()
