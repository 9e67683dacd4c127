"""GET /ping and POST /invocations: the two addresses that SageMaker asks of a container."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from contracts.errors import ReviewError
from service.health.endpoints import readyz
from service.hosting.formats import JSON, KINDS, read_lines, write_lines
from service.http.body import parse_json, read_body
from service.http.connection import while_connected
from service.parts import needed
from service.predict.endpoints import answer_json
from service.predict.service import Predictor

router = APIRouter(tags=["hosting"])
router.add_api_route("/ping", readyz, methods=["GET"])


@router.post("/invocations")
async def invocations(request: Request, predictor: Annotated[Predictor, needed(Predictor)]) -> Response:
    """The answers of POST /predict: to its JSON, or a line for each line of JSON or CSV."""
    kind, raw = await read_body(request, predictor.limits, KINDS)
    if kind == JSON:
        return await answer_json(request, parse_json(raw), predictor)
    items: list[dict[str, Any] | ReviewError] = []
    reviews, most = read_lines(kind, raw, predictor.limits), predictor.limits.reviews
    for start in range(0, len(reviews), most):
        items += (await while_connected(request, predictor.predict(reviews[start : start + most]))).items
    return Response(write_lines(kind, items, request.state.request_id), media_type=kind)
