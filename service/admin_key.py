"""The admin key that `stars up` makes on loopback."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from contracts.errors import MachineError


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
