"""What the soak takes for right, and what it names a fault."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from benchmarks.soak import BLANK, Question, Record, is_right, judge, trend

FOUR = {
    "stars": 4, "tokens": 12, "truncated": False,
    "probabilities": {"1": 0.05, "2": 0.05, "3": 0.1, "4": 0.6, "5": 0.2},
}  # fmt: skip
ONE = FOUR | {"stars": 1, "probabilities": {"1": 0.6, "2": 0.2, "3": 0.1, "4": 0.05, "5": 0.05}}
ASKED = [Question({"text": "fine"}, "good", FOUR), None, Question({"text": "broke"}, "good", ONE)]
REFUSED = {"error": {"type": "blank_text", "message": "the text is empty or blank"}}


def _nudged(answer: dict[str, Any], by: float) -> dict[str, Any]:
    nudged = copy.deepcopy(answer)
    nudged["probabilities"]["4"] += by
    return nudged


def test_right_answers() -> None:
    assert is_right(FOUR, ASKED[:1], batch=False)
    assert is_right({"predictions": [_nudged(FOUR, 2e-4), REFUSED, ONE]}, ASKED, batch=True)
    assert not BLANK["text"].strip()


@pytest.mark.parametrize(
    "items",
    [[ONE, REFUSED, FOUR], [FOUR, REFUSED], [FOUR, ONE, ONE], [_nudged(FOUR, 2e-3), REFUSED, ONE],
     [FOUR | {"stars": 5}, REFUSED, ONE], [FOUR | {"tokens": 13}, REFUSED, ONE], [REFUSED, REFUSED, ONE]],
    ids=["swapped", "one short", "blank one answered", "off", "other stars", "other tokens", "refused"],
)  # fmt: skip
def test_wrong_answers(items: list[dict[str, Any]]) -> None:
    assert not is_right({"predictions": items}, ASKED, batch=True)


def test_memory_that_grows_and_a_service_that_refuses_most_are_faults() -> None:
    record = Record()
    record.memory = {"gateway": [90.0 + at for at in range(100)], "worker": [550.0] * 80 + [555.0] * 20}
    record.statuses["good"].update({"200": 40, "429": 60})
    judge(record)
    assert sorted(record.faults) == ["gateway grew from 100 to 180 MB", "only 40 of 100 good requests were answered"]


def test_the_slope_is_what_a_minute_adds() -> None:
    first, last, slope = trend([float(at) for at in range(301)])
    assert (first, last) == (29.5, 270.5)
    assert slope == pytest.approx(60)
