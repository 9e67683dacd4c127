"""A source's bytes, unpacked while they are read, in bounded memory; and its lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from contracts.errors import DataError

BLOCK = 1 << 20
LINE_BYTES = 16 << 20
"""A line of so many bytes or more is cut to as many: whatever it is, it is no review."""

_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_BOMB_BYTES = 1 << 30
_BOMB_RATIO = 200
"""Text is packed to a third or a tenth. What unpacks to more than this, and to a gigabyte, was made to fill disks."""


class Blocks(Protocol):
    """Unpacked bytes, block by block. `position` is how far it has come in the file as it lies on disk."""

    def read(self, size: int) -> bytes: ...
    @property
    def position(self) -> int: ...


class _Plain:
    def __init__(self, file: Any, end: int | None) -> None:
        self._file, self._end = file, end

    def read(self, size: int) -> bytes:
        left = size if self._end is None else min(size, self._end - self._file.tell())
        read: bytes = self._file.read(left)
        return read

    @property
    def position(self) -> int:
        return int(self._file.tell())


class _Unpacked(_Plain):
    def __init__(self, file: Any, name: str, kind: str) -> None:
        super().__init__(file, None)
        self._name, self._bytes = name, 0
        self._stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), kind)

    def read(self, size: int) -> bytes:
        try:
            read: bytes = self._stream.read(size)
        except OSError as error:
            if error.errno is not None:
                raise
            raise DataError(f"{self._name} is cut short or damaged ({error}): copy it again") from error
        self._bytes += len(read)
        if self._bytes > max(_BOMB_BYTES, _BOMB_RATIO * self.position):
            raise DataError(
                f"{self._name} unpacks to more than {_BOMB_RATIO} times its size, which no text does: "
                "unpack it yourself if you trust it"
            )
        return read


def packed(path: Path) -> bool:
    """Whether a file is compressed, whatever it is called."""
    with path.open("rb") as file:
        return _packing(file.read(4)) is not None


def _packing(first: bytes) -> str | None:
    return next((kind for magic, kind in _PACKED.items() if first.startswith(magic)), None)


@contextmanager
def opened(path: Path, start: int = 0, end: int | None = None) -> Iterator[Blocks]:
    """A file to be read from `start` to `end`, both of which a packed file has none of. Raises DataError."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        kind = _packing(file.read(4))
        file.seek(start)
        yield _Plain(file, end) if kind is None else _Unpacked(file, path.name, kind)


def lines(blocks: Blocks) -> Iterator[bytes]:
    """Lines without their "\\n". None is longer than LINE_BYTES: what is longer is cut to that."""
    rest = b""
    while block := blocks.read(BLOCK):
        first, *others = block.split(b"\n")
        if len(rest) < LINE_BYTES:
            rest += first
        if others:
            yield rest[:LINE_BYTES]
            *whole, rest = others
            yield from whole
    if rest:
        yield rest[:LINE_BYTES]
