"""GET /healthz, /readyz and /metrics."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from service.errors import responses
from service.gateway import GatewayOf

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
async def readyz(gateway: GatewayOf) -> Ready:
    """200 when a golden prediction just came out right through the whole chain, else 503 with the reason."""
    return Ready(model=gateway.settings.name, version=await gateway.readiness.check())


@router.get("/metrics", response_class=Response, summary="Metrics for Prometheus")
async def metrics(gateway: GatewayOf) -> Response:
    return Response(gateway.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
