"""What the addresses about jobs take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from contracts.jobs import Job, JobState

DATA = "examples/reviews.tsv"
Knob = Annotated[bool | int | float, Field(union_mode="left_to_right")]


class RetrainIn(BaseModel):
    """What to train on, and how."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [{"data": DATA, "preset": "tiny"}]}
    )

    data: str | list[str] = Field(
        min_length=1, description="A file of labelled reviews, or several. They must lie in an allowed folder."
    )
    preset: str = Field("standard", pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="A preset of the pipeline.")
    overrides: dict[str, dict[str, Knob]] = Field(
        default_factory=dict,
        description="Numbers that differ from the preset, by stage.",
        examples=[{"train": {"epochs": 1}}],
    )


class JobOut(BaseModel):
    """A job as it stands now."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: str
    state: JobState
    stage: str | None = Field(description="The stage of the pipeline that runs, or ran last.")
    progress: float = Field(ge=0, le=1)
    release: str | None = Field(description="The candidate release that came out: promote it to put it into service.")
    error: str | None = Field(description="Why the job failed.")
    log_tail: list[str] = Field(description="The last lines of its log.")
    facts: dict[str, Any]
    config: dict[str, Any]
    attempts: int
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime | None

    @classmethod
    def of(cls, job: Job) -> JobOut:
        return cls.model_validate(job)


class JobList(BaseModel):
    """Jobs, the youngest first."""

    jobs: list[JobOut]
