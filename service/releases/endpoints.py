"""GET /models, and the promotion and rollback of releases."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from service.auth import is_admin, require_admin
from service.errors import message_of, responses
from service.parts import needed
from service.releases.schemas import Changed, ModelDetail, Models, ModelSummary, State
from service.releases.service import Releases

router = APIRouter(tags=["releases"])

Version = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
ReleasesOfApp = Annotated[Releases, needed(Releases)]
BY = "admin"
"""Who the production channel says has moved it: there is one admin key."""

CHANGE_ERRORS = responses("unauthorized", "forbidden", "not_found", "conflict", "bad_release", "not_ready")


@router.get("/models", response_model=Models, summary="The releases in the store", responses=responses("not_ready"))
async def models(request: Request, releases: ReleasesOfApp) -> Models:
    """The admin key, where it is sent, brings the whole `problem`: a reason can name paths of this machine."""
    behind = releases.behind
    versions = [ModelSummary(version=version, state=_state(releases, version)) for version in await releases.versions()]
    return Models(
        model=releases.name,
        serving=releases.current,
        production=releases.production,
        problem=f"{behind.what}: {message_of(behind.error, is_admin(request))}" if behind else None,
        versions=versions,
    )


@router.get(
    "/models/{version}",
    response_model=ModelDetail,
    summary="What is known about a release",
    responses=responses("not_found", "invalid_request", "bad_release", "not_ready"),
)
async def model(version: Version, releases: ReleasesOfApp) -> ModelDetail:
    return ModelDetail.of(await releases.describe(version), _state(releases, version))


@router.post(
    "/admin/models/{version}/promote",
    dependencies=[Depends(require_admin)],
    response_model=Changed,
    summary="Put a release into service",
    responses=CHANGE_ERRORS,
)
async def promote(version: Version, releases: ReleasesOfApp) -> Changed:
    """Verify it, load it beside the one in service, check its golden predictions, then swap.

    Answers when the new release serves. If anything fails, the old one goes on serving.
    """
    return _changed(releases, (await releases.promote(version, BY)).version)


@router.post(
    "/admin/models/rollback",
    dependencies=[Depends(require_admin)],
    response_model=Changed,
    summary="Put the previous release back into service",
    responses=CHANGE_ERRORS,
)
async def rollback(releases: ReleasesOfApp) -> Changed:
    """Bring back the version that was in production before. A second rollback undoes the first."""
    return _changed(releases, (await releases.rollback(BY)).version)


def _changed(releases: Releases, version: str) -> Changed:
    return Changed(model=releases.name, version=version, previous=releases.previous)


def _state(releases: Releases, version: str) -> State:
    if version == releases.current:
        return State.SERVING
    return State.PREVIOUS if version == releases.previous else State.AVAILABLE
