"""Files on this machine's disk, for every store: written whole or not at all, and the system's errors as ours."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from contracts.errors import MachineError, StoreError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_atomically(
    path: Path, fill: Callable[[BinaryIO], object], guard: AbstractContextManager[None] | None = None
) -> None:
    """Write a file that appears whole or not at all, and survives a power cut once this returns.

    `fill` writes the bytes; the rename into place happens inside `guard`. The folder must exist.
    """
    temporary = path.with_name(f".tmp-{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as target:
            fill(target)
            target.flush()
            os.fsync(target.fileno())
        with guard or nullcontext():
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def explained(what: object) -> Iterator[None]:
    """Turn the operating system's errors over `what`, a path or a key, into MachineError or StoreError."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise MachineError(f"no space left while writing {what}: free some disk space and run it again") from error
        reason = error.strerror or str(error)
        raise StoreError(f"{what}: {reason}. Check that the path is right and that you may use it") from error
