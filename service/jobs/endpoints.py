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
from service.http.body import MODEL_REF, json_body, read_json
from service.jobs.schemas import JobEventOut, JobList, JobOut
from service.jobs.service import Jobs
from service.jobs.stream import EventStream
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


LastEventId = Annotated[
    int, Header(ge=0, le=2**31 - 1, description="The id of the last event that you have: what came after it is sent.")
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


EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events. Each has this as its data.",
        "content": {EventStream.media_type: {"schema": {"$ref": MODEL_REF.format(model=JobEventOut.__name__)}}},
    }
}


@router.get("/jobs/{job_id}", response_model=JobOut, summary="How far a job is", responses=JOB_ERRORS)
async def job(job_id: JobId, jobs: JobsOfApp) -> JobOut:
    return await jobs.get(job_id)


@router.get(
    "/jobs/{job_id}/events",
    response_class=Response,
    summary="Follow a job",
    responses=JOB_ERRORS | EVENTS,
)
async def events(job_id: JobId, jobs: JobsOfApp, request: Request, last_event_id: LastEventId = 0) -> Response:
    """What has happened to the job, and what happens from now on, until it has ended.

    Each event's `id` is its sequence number and its `event` is its kind. A comment comes every 15 seconds in which
    nothing else does.
    """
    await jobs.get(job_id)
    if request.scope["state"].get("head_only"):
        return Response(media_type=EventStream.media_type)
    return EventStream(jobs.follow(job_id, last_event_id))


@router.post(
    "/jobs/{job_id}/cancel",
    response_model=JobOut,
    summary="Cancel a job",
    responses=JOB_ERRORS | responses("conflict"),
)
async def cancel(job_id: JobId, jobs: JobsOfApp) -> JobOut:
    """A queued job is cancelled at once; a running one as soon as its worker hears of it."""
    return await jobs.cancel(job_id)
