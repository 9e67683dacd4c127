"""What a running `stars up` writes down about itself, so that other commands find it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.errors import MachineError


class Running(BaseModel):
    """A `stars up`: its process, when that began, and what it serves where."""

    model_config = ConfigDict(frozen=True)

    pid: int
    began: float
    url: str
    store: str

    @classmethod
    def this(cls, url: str, store: str) -> Self:
        """The process that we are."""
        return cls(pid=os.getpid(), began=psutil.Process().create_time(), url=url, store=store)

    def write(self, path: Path) -> None:
        """Raises MachineError."""
        try:
            path.touch(0o600)
            path.write_text(self.model_dump_json() + "\n", encoding="utf-8")
        except OSError as error:
            raise MachineError(f"{path} cannot be written ({error.strerror}): make room") from error

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """None when nothing was written down, or the process that did so is gone."""
        try:
            written = cls.model_validate_json(path.read_bytes())
            return written if psutil.Process(written.pid).create_time() == written.began else None
        except (OSError, ValidationError, psutil.Error):
            return None
