from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ReviewError
from contracts.isolation import FAILED
from contracts.release.calibration import Calibration, Doubt, Likely
from contracts.wire import Prediction
from service.errors import InvalidRequest, problem_of
from service.predict.answer import answer, refuse_if_none_left

LOGITS = st.lists(st.integers(-60_000, 60_000).map(lambda logit: logit / 1000), min_size=5, max_size=5)


TEMPERATURES = st.floats(0.05, 20)


def calibrated(certain: float, doubtful: float) -> Calibration:
    doubt, likely = Doubt(certain=certain, doubtful=doubtful), Likely(coverage=0.9, reach=0.9)
    return Calibration(temperature=1.5, ece_before=0.1, ece_after=0.01, doubt=doubt, likely=likely)


def said(logits: Sequence[float], calibration: Calibration) -> dict[str, Any]:
    return answer(Prediction(tuple(logits), 37, True), calibration, "review-stars", "v1")


@given(LOGITS, TEMPERATURES)
def test_probabilities_add_up_and_follow_softmax(logits: list[float], temperature: float) -> None:
    single = Calibration(temperature=temperature, ece_before=0.1, ece_after=0.01)
    found = list(said(logits, single)["probabilities"].values())
    weights = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    assert math.isclose(sum(found), 1.0, abs_tol=1e-9)
    assert all(0 <= p <= 1 for p in found)
    assert found == pytest.approx([w / sum(weights) for w in weights], abs=3e-4)


@given(LOGITS, TEMPERATURES, TEMPERATURES)
def test_stars_are_those_of_the_largest_logit(logits: list[float], certain: float, doubtful: float) -> None:
    found = said(logits, calibrated(certain, doubtful))
    assert logits[found["stars"] - 1] == max(logits)
    assert found["confidence"] == found["probabilities"][str(found["stars"])]
    assert 1 <= found["expected_stars"] <= 5
    assert found["stars"] in found["likely"] == [*range(found["likely"][0], found["likely"][-1] + 1)]


def test_an_answer_has_the_fields_of_the_contract() -> None:
    found = said((0.0, 0.0, 0.0, 3.0, 1.0), calibrated(1.5, 1.5))  # e^2 = 7.389, e^(2/3) = 1.948, and 3
    assert found == {
        "stars": 4,
        "expected_stars": pytest.approx(3.6712, abs=1e-3),
        "confidence": found["probabilities"]["4"],
        "likely": [3, 4, 5],
        "probabilities": {"1": 0.0811, "2": 0.0811, "3": 0.0811, "4": 0.5988, "5": 0.1579},
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
