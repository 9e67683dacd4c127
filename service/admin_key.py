"""The admin key: the one that `stars up` makes on loopback, and the one that holds now."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

import structlog

from contracts.errors import ConfigError, MachineError
from service.settings import Settings

log = structlog.get_logger()


class AdminKey:
    """The admin key as its file says now, so that it can be changed without a restart.

    A new file that cannot be used leaves the old key in force, and is logged once. Raises ConfigError where there is no
    old key yet.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = settings.admin_key_file if settings.admin_key is None else None
        self._seen = self._stamp()
        self._key = settings.read_admin_key()

    @property
    def exists(self) -> bool:
        return self._key is not None

    def is_right(self, key: str) -> bool:
        """Compared as hashes in constant time, so that the time taken tells neither length nor content."""
        self._look()
        return self._key is not None and hmac.compare_digest(_digest(key), _digest(self._key))

    def _look(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._key = self._settings.read_admin_key()
            log.info("admin_key_read")
        except ConfigError as error:
            log.warning("admin_key_kept", file=str(self._file), reason=str(error))

    def _stamp(self) -> tuple[int, int, int] | None:
        """Changes whenever the file does; a mounted secret is another file behind the same link."""
        try:
            status = self._file.stat() if self._file else None
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_ino, status.st_size) if status else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def keep_admin_key(path: Path) -> Path:
    """Make a random key in a file that only its owner can read, unless it is there already; returns the path.

    Raises MachineError when it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            path.chmod(0o600)
            return path
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    except OSError as error:
        raise MachineError(f"the admin key cannot be kept at {path}: {error.strerror}") from error
    return path
