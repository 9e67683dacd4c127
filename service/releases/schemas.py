"""What the addresses about releases answer."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from contracts.release.manifest import Manifest


class State(StrEnum):
    """Where a release stands with this gateway."""

    SERVING = "serving"
    PREVIOUS = "previous"
    AVAILABLE = "available"


class ModelSummary(BaseModel):
    """One release in the store."""

    version: str
    state: State = Field(description="`previous` is what a rollback brings back; `available` lies in the store.")


class Models(BaseModel):
    """The releases in the store."""

    model: str
    serving: str | None = Field(description="The version in service; null while none is.")
    production: str | None = Field(description="The version that the production channel points at.")
    problem: str | None = Field(description="Why that is not the one in service, if it could not be brought there.")
    versions: list[ModelSummary]


class ModelDetail(ModelSummary):
    """What is known about a release: its manifest without the list of files and the stages' facts."""

    model: str
    created: datetime
    token_limit: int
    truncation: str
    temperature: float
    metrics: dict[str, Any] = Field(description="On the test split, with confidence intervals.")
    dataset: dict[str, Any]
    base_model: str
    weights_dtype: str
    licence: str
    code_revision: str

    @classmethod
    def of(cls, manifest: Manifest, state: State) -> ModelDetail:
        known = manifest.model_dump(include=set(cls.model_fields) - {"model", "state"})
        return cls(**known, model=manifest.name, state=state)


class Changed(BaseModel):
    """The releases after a promotion or a rollback."""

    model: str
    version: str = Field(description="The version in service now.")
    previous: str | None = Field(description="The version that a rollback would bring back.")
