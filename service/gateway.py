"""What the endpoints share: one gateway's settings and services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from service.admin_key import AdminKey
from service.backend.protocol import Backend
from service.health.service import Readiness
from service.jobs.service import Jobs
from service.metrics import Metrics
from service.predict.service import Predictor
from service.releases.service import Releases
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Gateway:
    """Built once by `create_app`, from values to services."""

    settings: Settings
    admin_key: AdminKey
    metrics: Metrics
    backend: Backend
    releases: Releases
    predictor: Predictor
    readiness: Readiness
    jobs: Jobs


async def _of(request: Request) -> Gateway:
    return cast(Gateway, request.app.state.gateway)


GatewayOf = Annotated[Gateway, Depends(_of)]
"""An endpoint's parameter of this type is the gateway that it runs in."""
