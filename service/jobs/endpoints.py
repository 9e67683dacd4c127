"""POST /admin/retrain and the jobs that come of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from contracts.jobs.job import JobState
from contracts.jobs.retrain import Retrain
from contracts.validation import what_is_wrong
from service.auth import require_admin
from service.errors import InvalidRequest, responses
from service.http.body import json_body, read_json
from service.jobs.schemas import JobList, JobOut
from service.jobs.service import Jobs
from service.parts import needed
from service.settings import Settings

router = APIRouter(prefix="/admin", tags=["jobs"], dependencies=[Depends(require_admin)])

JobsOfApp = Annotated[Jobs, needed(Jobs)]
JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
IdempotencyKey = Annotated[
    str,
    Header(
        pattern=r"^[!-~]{1,200}$",
        description="Your name for this request. Sending the request again with the same key queues nothing new.",
    ),
]


LOCATION = {"Location": {"description": "Where the job can be watched.", "schema": {"type": "string"}}}
REPEATED: dict[int | str, dict[str, Any]] = {
    200: {
        "model": JobOut,
        "description": "The same Idempotency-Key came with the same body before: the job that it made.",
        "headers": LOCATION,
    }
}


@router.post(
    "/retrain",
    status_code=202,
    response_model=JobOut,
    summary="Queue a retraining",
    responses=REPEATED | responses(
        "malformed_json", "unauthorized", "forbidden", "conflict", "body_too_slow", "body_too_large",
        "unsupported_media_type", "invalid_request", "not_ready",
    ),
    openapi_extra=json_body(Retrain) | {"responses": {"202": {"headers": LOCATION}}},
)  # fmt: skip
async def retrain(
    request: Request,
    jobs: JobsOfApp,
    settings: Annotated[Settings, needed(Settings)],
    idempotency_key: IdempotencyKey,
) -> Response:
    """The answer is the job; a worker runs it, and a candidate release comes out. `Location` is where to look."""
    body = await read_json(request, settings.limits)
    try:
        wanted = Retrain.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(what_is_wrong(error, Retrain, "the body")) from None
    job, created = await jobs.retrain(wanted, idempotency_key)
    location = {"Location": f"/admin/jobs/{job.id}"}
    return JSONResponse(job.model_dump(mode="json"), 202 if created else 200, location)


@router.get(
    "/jobs",
    response_model=JobList,
    summary="The jobs",
    responses=responses("unauthorized", "forbidden", "invalid_request", "not_ready"),
)
async def jobs(
    jobs: JobsOfApp, limit: Annotated[int, Query(ge=1, le=200)] = 50, state: JobState | None = None
) -> JobList:
    return JobList(jobs=await jobs.recent(limit, state))


JOB_ERRORS = responses("unauthorized", "forbidden", "not_found", "invalid_request", "not_ready")


@router.get("/jobs/{job_id}", response_model=JobOut, summary="How far a job is", responses=JOB_ERRORS)
async def job(job_id: JobId, jobs: JobsOfApp) -> JobOut:
    return await jobs.get(job_id)


@router.post(
    "/jobs/{job_id}/cancel",
    response_model=JobOut,
    summary="Cancel a job",
    responses=JOB_ERRORS | responses("conflict"),
)
async def cancel(job_id: JobId, jobs: JobsOfApp) -> JobOut:
    """A queued job is cancelled at once; a running one as soon as its worker hears of it."""
    return await jobs.cancel(job_id)
