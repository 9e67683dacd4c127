"""What gateway and handler say to each other, from both ends."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import BackendError, ReviewError
from contracts.review import Review
from contracts.wire import (
    EXPIRED,
    Prediction,
    read_request,
    read_response,
    refusal_body,
    request_body,
    response_body,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
FIVE = (0.0, -1.25, 2.0, 3.0, 4.0)
GOOD = {"logits": FIVE, "tokens": 5, "truncated": False, "unfamiliar": None}


@given(st.lists(st.builds(Review, TEXT, TEXT, TEXT), min_size=1, max_size=5))
def test_reviews_arrive_as_they_were_sent(reviews: list[Review]) -> None:
    assert read_request(request_body(reviews)) == reviews
    assert read_request(bytearray(request_body(reviews, time.time() + 60))) == reviews


def test_a_request_whose_deadline_has_passed_is_not_read() -> None:
    with pytest.raises(ReviewError) as caught:
        read_request(request_body([Review("Works.")], time.time() - 1))
    assert caught.value.kind == EXPIRED


def test_stars_and_ids_stay_where_they_are() -> None:
    assert read_request(request_body([Review("Works.", star_rating=5, review_id="R1")])) == [Review("Works.")]


def test_predictions_arrive_as_they_were_sent() -> None:
    items = [
        Prediction(FIVE, 5, True, "language"),
        ReviewError("it is blank", "blank_text"),
        Prediction(FIVE, 7, False),
    ]
    received = read_response(response_body(items, 1.256, "torch"), 3)
    assert (received.items[0], received.items[2]) == (items[0], items[2])
    assert (received.infer_ms, received.engine) == (1.26, "torch")
    error = received.items[1]
    assert isinstance(error, ReviewError) and (str(error), error.kind) == ("it is blank", "blank_text")


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"predictions": 5, "infer_ms": 1, "engine": "torch"},
        {"predictions": [GOOD]},
        {"predictions": [GOOD], "infer_ms": 1},
        {"predictions": [], "infer_ms": 1, "engine": "torch"},
        {"predictions": [GOOD, GOOD], "infer_ms": 1, "engine": "torch"},
        {"predictions": ["none"], "infer_ms": 1, "engine": "torch"},
        {"predictions": [{"error": "no"}], "infer_ms": 1, "engine": "torch"},
        {"predictions": [GOOD | {"logits": FIVE[:4]}], "infer_ms": 1, "engine": "torch"},
        {"predictions": [GOOD | {"logits": [*FIVE[:4], float("inf")]}], "infer_ms": 1, "engine": "torch"},
        {"predictions": [GOOD | {"logits": [*FIVE[:4], "4"]}], "infer_ms": 1, "engine": "torch"},
        {"predictions": [{"logits": FIVE}], "infer_ms": 1, "engine": "torch"},
    ],
)
def test_no_answer_to_one_review(document: Any) -> None:
    with pytest.raises(BackendError, match="of the same version"):
        read_response(json.dumps(document).encode(), 1)


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", refusal_body(ReviewError("no", "malformed"))])
def test_what_is_no_answer_at_all(body: bytes) -> None:
    with pytest.raises(BackendError):
        read_response(body, 1)


def test_it_is_light() -> None:
    """A worker imports it, and a restart waits for its imports."""
    program = "import sys, contracts.wire; print(' '.join(sorted(sys.modules)))"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "httpx", "numpy", "tokenizers"} & set(modules)
