"""From a URL to its store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from contracts.errors import ConfigError
from contracts.store.file_store import FileStore
from contracts.store.protocol import ObjectStore


def open_store(url: str) -> ObjectStore:
    """The store behind `file:///folder` or a plain folder. Raises ConfigError for anything else."""
    if "://" not in url:
        if not url:
            raise ConfigError("the store's URL is empty: use a folder or file:///folder")
        return FileStore(Path(url))
    parts = urlsplit(url)
    if parts.scheme == "s3":
        raise ConfigError("s3:// stores are not supported yet: use a folder or file:///folder")
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise ConfigError(f"{url} is not a store: use a folder or file:///folder")
    return FileStore(Path(unquote(parts.path)))
