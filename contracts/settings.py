"""What the gateway, the worker and the command line must agree on: where state lives and which data may be read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigError, JobError

DATA_ROOTS_VARIABLE = "STARS_DATA_ROOTS"
JOBS_VARIABLE = "STARS_JOBS_URL"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder for everything that outlives a process: jobs, keys, releases, runs."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """$STARS_HOME, or ~/.local/state/review-stars."""
        chosen = os.environ.get("STARS_HOME")
        return cls(Path(chosen).expanduser().absolute() if chosen else Path.home() / ".local/state/review-stars")

    @property
    def jobs_url(self) -> str:
        return f"sqlite:///{self.root / 'jobs.db'}"

    @property
    def admin_key(self) -> Path:
        return self.root / "admin.key"

    @property
    def store(self) -> Path:
        """The release store where no other is named."""
        return self.root / "store"

    @property
    def model_store(self) -> Path:
        """Where releases are fetched to, verified, and read by TorchServe."""
        return self.root / "model-store"

    @property
    def runs(self) -> Path:
        """One folder per job: the pipeline's work folder."""
        return self.root / "runs"

    @property
    def data(self) -> Path:
        """Where an operator may always put reviews to train on."""
        return self.root / "data"

    def create(self) -> Home:
        """Make the folder, readable by its owner only. Raises ConfigError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"the state folder {self.root} cannot be made ({error.strerror}): name another with STARS_HOME"
            ) from error
        return self


def data_roots(home: Home | None = None) -> tuple[Path, ...]:
    """The folders that retraining may read: $STARS_DATA_ROOTS (separated like PATH), or ./examples and <home>/data."""
    chosen = os.environ.get(DATA_ROOTS_VARIABLE)
    if chosen:
        return tuple(Path(part).expanduser().absolute() for part in chosen.split(os.pathsep) if part)
    return (Path.cwd() / "examples", (home or Home.default()).data)


def allowed_data(path: str, roots: Iterable[Path]) -> Path:
    """The absolute path of a data set that lies in one of the allowed folders, symbolic links followed.

    The file need not exist on this machine: the gateway asks before the worker's machine opens it. Raises JobError
    for anything outside, without a word on whether it exists.
    """
    allowed = [root.resolve() for root in roots]
    try:
        resolved = Path(path).expanduser().resolve() if path and "://" not in path else None
    except (OSError, RuntimeError, ValueError):  # a loop of links, an unknown ~user, a NUL byte
        resolved = None
    if resolved is None or not any(resolved.is_relative_to(root) for root in allowed):
        folders = ", ".join(str(root) for root in allowed) or "none"
        raise JobError(
            f"data must lie in an allowed folder ({folders}): put the file there, or add its folder to "
            f"{DATA_ROOTS_VARIABLE} on the gateway and on the worker"
        )
    return resolved
