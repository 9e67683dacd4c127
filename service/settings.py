"""The gateway's settings, read once at start from the environment (prefix STARS_) and never changed after.

`Limits` is the one table of what the gateway accepts; docs/limits.md shows it and a test holds the two together.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from contracts.errors import ConfigError
from contracts.jobs.data import data_roots, split_roots
from contracts.limits import BODY_LIMIT, QUEUED_REQUESTS, REVIEWS_LIMIT, TEXT_LIMIT
from contracts.model_folder import WorkerSettings
from contracts.release.default_store import default_store
from contracts.release.published import MODEL_NAME
from contracts.settings import Home, read_jobs_url
from contracts.store.protocol import ObjectStore
from contracts.store.urls import open_store
from contracts.validation import findings

KEY_LENGTH = 16
"""An admin key shorter than this could be guessed."""

HANGS_AFTER = 2
"""Deadlines that a silent worker is given before TorchServe starts it again: what it has then nobody waits for."""

HANG_SECONDS = 10.0
"""The least that it is given: a worker on a busy machine must not be killed over a short deadline."""

_ESCAPED = 12
"""Bytes of the longest JSON spelling of one character: an escaped surrogate pair."""


class Limits(BaseModel):
    """What the gateway accepts, and how long it takes over it. Each is set as STARS_LIMITS__<NAME>.

    None may be over what the model server takes: contracts/limits.py has that once for both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_characters: Annotated[int, Field(gt=0, le=TEXT_LIMIT, description="characters of a review's text")] = 20_000
    title_characters: Annotated[int, Field(gt=0, le=TEXT_LIMIT, description="characters of a review's title")] = 1_000
    category_characters: Annotated[int, Field(gt=0, le=TEXT_LIMIT, description="characters of a category's name")] = 200
    reviews: Annotated[int, Field(gt=0, le=REVIEWS_LIMIT, description="reviews in one request")] = 64
    body_bytes: Annotated[int, Field(gt=0, le=BODY_LIMIT, description="bytes of a request's body")] = 1024 * 1024
    deadline_seconds: Annotated[
        float, Field(gt=0, le=300, description="seconds from a request's body to its answer")
    ] = 10.0
    queue_reviews: Annotated[
        int, Field(gt=0, description="reviews in the gateway at once, waiting or being read by the model")
    ] = 256
    model_reviews: Annotated[
        int, Field(gt=0, le=QUEUED_REQUESTS, description="reviews with the model server at once")
    ] = 64
    connections: Annotated[int, Field(gt=0, description="connections at once")] = 1_000
    headers: Annotated[int, Field(ge=10, description="headers of a request")] = 100
    head_bytes: Annotated[
        int, Field(ge=1024, description="bytes of a request that are not its body: first line, headers, framing")
    ] = 32 * 1024
    head_seconds: Annotated[
        float, Field(gt=0, le=300, description="seconds from a request's first byte to the end of its headers")
    ] = 10.0

    @property
    def hang_seconds(self) -> float:
        """A worker that says nothing for so long hangs, and TorchServe may kill it."""
        return max(HANGS_AFTER * self.deadline_seconds, HANG_SECONDS)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse limits that contradict each other: some request within one would always break another."""
        longest = _ESCAPED * (self.text_characters + self.title_characters + self.category_characters)
        if longest > self.body_bytes:
            raise ValueError(
                f"the longest review allowed can take {longest} bytes, more than body_bytes={self.body_bytes}: "
                "raise body_bytes or lower text_characters"
            )
        if self.reviews > self.model_reviews:
            raise ValueError(
                f"a request of reviews={self.reviews} could never be sent with model_reviews={self.model_reviews}: "
                "raise model_reviews or lower reviews"
            )
        if self.model_reviews > self.queue_reviews:
            raise ValueError(
                f"model_reviews={self.model_reviews} can never be reached with queue_reviews={self.queue_reviews}: "
                "raise queue_reviews or lower model_reviews"
            )
        return self


class Settings(BaseSettings):
    """Everything the gateway can be told. Build it with `load_settings`, which words mistakes for people."""

    model_config = SettingsConfigDict(
        env_prefix="STARS_", env_nested_delimiter="__", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    home: Path = Field(default_factory=lambda: Home.default().root)
    store: str | None = None
    """Where releases come from. Default: the store in <home>."""
    name: str = MODEL_NAME
    inference_url: AnyHttpUrl = AnyHttpUrl("http://127.0.0.1:8080")
    management_url: AnyHttpUrl = AnyHttpUrl("http://127.0.0.1:8081")
    model_store: Path | None = None
    """The folder that TorchServe loads models from; the gateway writes into it. Default: <home>/model-store."""
    model_server_keys: Path | None = None
    """The file with the keys that TorchServe asks for, which it writes at each start. None: it asks for none."""
    admin_key: SecretStr | None = None
    admin_key_file: Path | None = None
    data_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default_factory=lambda settings: data_roots(Home(settings["home"]))
    )
    """Folders that a retraining job may read data from, separated like PATH."""
    jobs_url: str | None = None
    """SQLAlchemy URL of the job store. Default: SQLite in <home>."""
    jobs_url_file: Path | None = None
    """A file with that URL, for one that has a password in it."""
    ready_seconds: Annotated[float, Field(ge=0)] = 5.0
    """How long an answer of /readyz is kept before the golden prediction runs again."""
    load_seconds: Annotated[float, Field(gt=0)] = 120.0
    """How long a release may take to load."""
    follow_seconds: Annotated[float, Field(gt=0)] = 3.0
    """How long it may take to see that the production channel was moved."""
    model_workers: Annotated[int, Field(gt=0, le=64)] = 1
    """Processes that run the model, each with one thread."""
    limits: Limits = Limits()

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("data_roots", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return split_roots(value) if isinstance(value, str) else value

    @property
    def paths(self) -> Home:
        return Home(self.home)

    @property
    def model_folder(self) -> Path:
        return self.model_store or self.paths.model_store

    def open_store(self) -> ObjectStore:
        """The store that releases come from. Raises ConfigError, StoreError."""
        return open_store(self.store) if self.store else default_store(self.paths)

    @property
    def worker(self) -> WorkerSettings:
        """How TorchServe runs the model."""
        return WorkerSettings(
            workers=self.model_workers,
            response_seconds=math.ceil(self.limits.hang_seconds),
            startup_seconds=math.ceil(self.load_seconds),
        )

    @property
    def release_cache(self) -> Path:
        """Where releases are fetched to and verified."""
        return self.home / "releases"

    @property
    def job_store_url(self) -> str:
        """Raises ConfigError where a file is to say it and cannot be read."""
        if self.jobs_url:
            return self.jobs_url
        return read_jobs_url(self.jobs_url_file) if self.jobs_url_file else self.paths.jobs_url

    def read_admin_key(self) -> str | None:
        """The admin key, from the environment or from its file; None when neither is set. Raises ConfigError."""
        if self.admin_key is not None:
            key = self.admin_key.get_secret_value().strip()
        elif self.admin_key_file is not None:
            try:
                key = self.admin_key_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                raise ConfigError(f"the admin key cannot be read from {self.admin_key_file}: {reason}") from error
        else:
            return None
        if len(key) < KEY_LENGTH:
            raise ConfigError(f"the admin key is shorter than {KEY_LENGTH} characters: use a longer one")
        return key


def load_settings(**values: object) -> Settings:
    """Settings from the environment, with `values` on top. Raises ConfigError that names each setting in its words."""
    try:
        return Settings(**values)  # type: ignore[arg-type]  # pydantic checks what mypy cannot see
    except ValidationError as error:
        places = findings(error, Settings, names=True)
        names = ["STARS_" + place.replace(".", "__").upper() if place else "settings" for place, _ in places]
        raise ConfigError(
            "; ".join(f"{name}: {sentence}" for name, (_, sentence) in zip(names, places, strict=True))
        ) from None
