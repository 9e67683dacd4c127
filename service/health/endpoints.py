"""GET /healthz, /readyz and /metrics."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from service.errors import responses
from service.health.service import Readiness
from service.metrics import Metrics
from service.parts import needed
from service.settings import Settings

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"
    model: str
    version: str


@router.get("/healthz", response_model=Alive, summary="Whether the gateway runs")
async def healthz() -> Alive:
    """Always 200 while the gateway can answer at all; says nothing about the model."""
    return Alive()


@router.get("/readyz", response_model=Ready, summary="Whether it predicts", responses=responses("not_ready"))
async def readyz(
    settings: Annotated[Settings, needed(Settings)], readiness: Annotated[Readiness, needed(Readiness)]
) -> Ready:
    """200 when a golden prediction just came out right through the whole chain, else 503 with the reason."""
    return Ready(model=settings.name, version=await readiness.check())


@router.get("/metrics", response_class=Response, summary="Metrics for Prometheus")
async def metrics(metrics: Annotated[Metrics, needed(Metrics)]) -> Response:
    return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
