"""From a URL to its store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from contracts.errors import ConfigError
from contracts.installation import how_to_install
from contracts.store.file_store import FileStore
from contracts.store.protocol import ObjectStore

USE = "use a folder, file:///folder or s3://bucket/prefix"


def open_store(url: str) -> ObjectStore:
    """The store behind `s3://bucket/prefix`, `file:///folder` or a plain folder. Raises ConfigError for anything else.

    boto3 takes 25 MB and half a second: it is imported for a bucket only.
    """
    if "://" not in url:
        if not url:
            raise ConfigError(f"the store's URL is empty: {USE}")
        return FileStore(Path(url))
    if url.startswith("s3://"):
        try:
            from contracts.store.s3_store import S3Store
        except ModuleNotFoundError as error:
            missing = f"an s3:// store needs {error.name}, which is not installed"
            raise ConfigError(f"{missing}: {how_to_install('aws')}") from error
        return S3Store(url)
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise ConfigError(f"{url} is not a store: {USE}")
    return FileStore(Path(unquote(parts.path)))
