"""What the gateway, the worker and the command line must agree on: where state lives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigError

JOBS_VARIABLE = "STARS_JOBS_URL"
JOBS_FILE_VARIABLE = "STARS_JOBS_URL_FILE"
"""For a URL with a password in it, which no environment has to show."""


def read_jobs_url(file: Path) -> str:
    """The job store's URL in a file, such as a mounted secret. Raises ConfigError."""
    try:
        url = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the job store's URL cannot be read from {file}: {reason}") from error
    if not url:
        raise ConfigError(f"the job store's URL cannot be read from {file}: it is empty")
    return url


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

    def job_store_url(self) -> str:
        """$STARS_JOBS_URL, what the file $STARS_JOBS_URL_FILE says, or SQLite in this folder. Raises ConfigError."""
        if url := os.environ.get(JOBS_VARIABLE):
            return url
        file = os.environ.get(JOBS_FILE_VARIABLE)
        return read_jobs_url(Path(file)) if file else self.jobs_url

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
    def tracking(self) -> str:
        """URI of the MLflow tracking store where no other is named."""
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def data(self) -> Path:
        """Where an operator may always put reviews to train on."""
        return self.root / "data"

    @property
    def jars(self) -> Path:
        """Java libraries that training has fetched."""
        return self.root / "jars"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def up(self) -> Path:
        """What `stars up` writes down about itself while it runs."""
        return self.root / "up.json"

    def create(self) -> Home:
        """Make the folder, readable by its owner only, and the one for data in it. Raises ConfigError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.data.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the state folder {self.root} cannot be made ({error.strerror}): name another with STARS_HOME"
            ) from error
        return self
