"""Where releases and channels live: objects under keys, with conditional writes.

What every store checks and says alike stands below the protocol. tests/contracts/test_store.py holds every store to it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, Protocol

from contracts.errors import Conflict, StoreError

READ_LIMIT = 64 * 1024 * 1024
"""Bytes that `read` takes into memory unless told otherwise; larger objects are for `download`."""

KEY_LIMIT = 900

# Printable ASCII without "/" and "\\". No leading dot: ".." would leave the folder, and the store's own files begin so.
_PART = re.compile(r"(?!\.)[ -.0-\[\]-~]+")


class Stored(NamedTuple):
    """An object and its version: `etag` changes whenever the data does. Two stores need not agree on it."""

    data: bytes
    etag: str


class ObjectStore(Protocol):
    """Objects under keys such as `releases/review-stars/v1/manifest.json`.

    Every method raises StoreError when the store fails, MachineError when a disk is full. A write is seen whole or
    not at all.
    """

    @property
    def url(self) -> str:
        """What `open_store` takes to open the same store."""

    def read(self, key: str, *, limit: int = READ_LIMIT) -> Stored:
        """The object. Raises NotFound, or StoreError when it has more than `limit` bytes."""

    def write(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Store the object and return its etag.

        With `if_absent` only where there is none yet, with `if_match` only where it still has that etag; else Conflict.
        """

    def upload(self, path: Path, key: str, *, if_absent: bool = False) -> None:
        """Store a file of any size, in parts where the store takes no more at once. Raises Conflict as `write` does."""

    def download(self, key: str, path: Path, *, limit: int | None = None) -> None:
        """Write the object to a file, which appears whole or not at all. Raises as `read` does."""

    def check_writable(self) -> None:
        """Raises StoreError or MachineError when nothing could be written, before there is work to lose."""

    def list(self, prefix: str) -> list[str]:
        """All keys that begin with `prefix`, sorted, however many answers the store gives them in."""

    def delete(self, key: str) -> None:
        """Remove the object, if there is one."""


def check_key(key: str) -> str:
    """The key itself. Raises StoreError unless it is relative, in printable ASCII, and no part is empty or dotted."""
    if not is_key(key):
        raise StoreError(f"{key!r} is not a key: use printable ASCII, parts joined by '/', none beginning with a dot")
    return key


def is_key(key: str) -> bool:
    return len(key) <= KEY_LIMIT and all(_PART.fullmatch(part) for part in key.split("/"))


def check_size(key: str, size: int, limit: int | None) -> None:
    """Raises StoreError for an object of more bytes than may be read."""
    if limit is not None and size > limit:
        raise StoreError(f"{key} has {size} bytes where at most {limit} were expected: it is not what it says")


def taken(key: str) -> Conflict:
    """The answer to a write with `if_absent` where there is an object."""
    return Conflict(f"{key} exists already and is never overwritten: choose another name")


def changed(key: str) -> Conflict:
    """The answer to a write with `if_match` where the object has another etag, or is gone."""
    return Conflict(f"{key} was changed by someone else: read it again, then repeat")
