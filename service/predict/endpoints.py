"""POST /predict."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from contracts.errors import ReviewError
from service.errors import error_body, responses
from service.gateway import GatewayOf
from service.http.body import read_json
from service.http.connection import while_connected
from service.openapi import json_body
from service.predict.schemas import EXAMPLES, Answer, BatchAnswer, BatchIn, ReviewIn
from service.predict.service import read_batch, read_review, refuse_if_none_left

router = APIRouter(tags=["predict"])

ERRORS = responses(
    "malformed_json", "body_too_slow", "body_too_large", "unsupported_media_type", "invalid_request", "blank_text",
    "text_too_long", "too_many_tokens", "overloaded", "internal", "review_failed", "model_server_error", "not_ready",
    "deadline_exceeded",
)  # fmt: skip

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "application/json": {"examples": {name: {"value": example["answer"]} for name, example in EXAMPLES.items()}}
        }
    }
}


@router.post(
    "/predict",
    summary="The star rating of one review, or of several",
    response_model=Answer | BatchAnswer,
    responses=ANSWERS | ERRORS,
    openapi_extra=json_body(ReviewIn, BatchIn),
)
async def predict(request: Request, gateway: GatewayOf) -> Response:
    """Send one review and get its answer, or up to 64 under `reviews` and get an answer or an error for each."""
    limits = gateway.settings.limits
    body = await read_json(request, limits)
    if "reviews" in body:
        return await _batch(request, gateway, body)
    review = read_review(body, limits)
    predicted = await while_connected(request, gateway.predictor.predict([review]))
    request.state.timing.update(predicted.timing)
    item = predicted.items[0]
    if isinstance(item, ReviewError):
        raise item
    return JSONResponse(item)


async def _batch(request: Request, gateway: GatewayOf, body: dict[str, Any]) -> Response:
    reviews = read_batch(body, gateway.settings.limits)
    refuse_if_none_left(reviews)
    predicted = await while_connected(request, gateway.predictor.predict(reviews))
    request.state.timing.update(predicted.timing)
    refuse_if_none_left(predicted.items)
    request_id = request.state.request_id
    items = [error_body(item, request_id) if isinstance(item, ReviewError) else item for item in predicted.items]
    return JSONResponse({"predictions": items, "model": predicted.model, "version": predicted.version})
