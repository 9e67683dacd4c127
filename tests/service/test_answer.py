from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ReviewError
from contracts.isolation import FAILED
from contracts.wire import Prediction
from service.errors import InvalidRequest, problem_of
from service.predict.answer import answer, probabilities, refuse_if_none_left

LOGITS = st.lists(st.floats(-60, 60), min_size=5, max_size=5)


@given(LOGITS, st.floats(0.05, 20))
def test_probabilities_add_up_and_follow_softmax(logits: list[float], temperature: float) -> None:
    found = probabilities(logits, temperature)
    weights = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    assert math.isclose(sum(found), 1.0, abs_tol=1e-9)
    assert all(0 <= p <= 1 for p in found)
    assert found == pytest.approx([w / sum(weights) for w in weights], abs=3e-4)


@given(LOGITS, st.floats(0.05, 20))
def test_stars_are_those_of_the_largest_logit(logits: list[float], temperature: float) -> None:
    found = answer(Prediction(tuple(logits), 9, False), temperature, "m", "v")
    assert logits[found["stars"] - 1] == max(logits)
    assert found["confidence"] == found["probabilities"][str(found["stars"])]
    assert 1 <= found["expected_stars"] <= 5


def test_an_answer_has_the_fields_of_the_contract() -> None:
    found = answer(Prediction((0.0, 0.0, 0.0, 3.0, 1.0), 37, True), 1.5, "review-stars", "v1")
    assert found == {
        "stars": 4,
        "expected_stars": pytest.approx(3.75, abs=0.3),
        "confidence": found["probabilities"]["4"],
        "probabilities": {str(star): pytest.approx(p, abs=0.5) for star, p in zip("12345", [0.1] * 5, strict=True)},
        "truncated": True,
        "tokens": 37,
        "unfamiliar": None,
        "model": "review-stars",
        "version": "v1",
    }


def test_a_batch_of_nothing_but_errors_is_the_clients_unless_one_is_ours() -> None:
    """Fault 1: 422 would tell the client to mend what is no mistake of its own."""
    theirs, ours = ReviewError("blank", kind="blank_text"), ReviewError("failed", kind=FAILED)
    refuse_if_none_left([theirs, {"stars": 5}, ours])
    with pytest.raises(InvalidRequest, match=r"reviews\.0: blank; reviews\.1: blank"):
        refuse_if_none_left([theirs, theirs])
    with pytest.raises(ReviewError) as caught:
        refuse_if_none_left([theirs, ours])
    assert problem_of(caught.value).status == 500
