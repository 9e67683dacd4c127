"""What a server answers when it is asked for a file from some byte on: the same for https:// and s3://."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


class Broken(Exception):
    """The connection broke off, or the server has no time now: trying again may help. `wait` is its word for when."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True)
class RemoteBytes:
    """A file's bytes from `start` on, which is 0 where the server knows no other, or the file is another one by now."""

    start: int
    size: int | None
    """Of the whole file."""
    validator: str
    chunks: Iterator[bytes]


class RemoteFile(Protocol):
    """One file elsewhere. `url` is fit to be shown, and `name` to be a file's."""

    @property
    def url(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str:
        """What whoever named it says that its bytes have, or nothing."""
        ...

    def open(self, start: int, validator: str) -> AbstractContextManager[RemoteBytes | None]:
        """Its bytes from `start` on, if it still is what `validator` says; else from its first byte.

        With start 0 and a validator: None when it has not changed. Raises Broken, and DataError when trying again is
        of no use.
        """
        ...
