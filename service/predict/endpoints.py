"""POST /predict."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from contracts.errors import ReviewError
from service.errors import error_body, responses
from service.http.body import json_body, read_json
from service.http.connection import while_connected
from service.parts import needed
from service.predict.answer import refuse_if_none_left
from service.predict.parsing import parse_batch, parse_review
from service.predict.schemas import EXAMPLES, Answer, BatchAnswer, BatchIn, ReviewIn
from service.predict.service import Predictor

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
async def predict(request: Request, predictor: Annotated[Predictor, needed(Predictor)]) -> Response:
    """Send one review and get its answer, or up to 64 under `reviews` and get an answer or an error for each."""
    return await answer_json(request, await read_json(request, predictor.limits), predictor)


async def answer_json(request: Request, body: dict[str, Any], predictor: Predictor) -> Response:
    """The answer to a body of /predict, whichever address it came to."""
    is_batch = "reviews" in body
    reviews = parse_batch(body, predictor.limits) if is_batch else [parse_review(body, predictor.limits)]
    refuse_if_none_left(reviews)
    predicted = await while_connected(request, predictor.predict(reviews))
    request.state.timing.update(predicted.timing)
    if not is_batch:
        [item] = predicted.items
        if isinstance(item, ReviewError):
            raise item
        return JSONResponse(item)
    refuse_if_none_left(predicted.items)
    request_id = request.state.request_id
    items = [error_body(item, request_id) if isinstance(item, ReviewError) else item for item in predicted.items]
    return JSONResponse({"predictions": items, "model": predicted.model, "version": predicted.version})
