"""From logits to the answer that a client gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.errors import ReviewError
from contracts.isolation import FAILED
from contracts.release.calibration import Calibration
from contracts.review import STARS
from contracts.wire import Prediction
from service.errors import InvalidRequest

DIGITS = 4


def rounded(probabilities: Sequence[float], best: int) -> list[float]:
    """Probabilities with a few digits, whose sum is still 1; `best` is the place of the largest."""
    digits = [round(probability, DIGITS) for probability in probabilities]
    digits[best] = round(1 - (sum(digits) - digits[best]), DIGITS)
    return digits


def answer(prediction: Prediction, calibration: Calibration, model: str, version: str) -> dict[str, Any]:
    """The answer of contract 4. `stars` is the rating with the largest logit; calibration cannot change which."""
    best = prediction.logits.index(max(prediction.logits))
    probabilities = calibration.probabilities(prediction.logits)
    chances = rounded(probabilities, best)
    return {
        "stars": STARS[best],
        "expected_stars": round(sum(star * p for star, p in zip(STARS, chances, strict=True)), DIGITS),
        "confidence": chances[best],
        "likely": calibration.likely_stars(probabilities),
        "probabilities": {str(star): p for star, p in zip(STARS, chances, strict=True)},
        "truncated": prediction.truncated,
        "tokens": prediction.tokens,
        "unfamiliar": prediction.unfamiliar,
        "model": model,
        "version": version,
    }


def refuse_if_none_left(items: Sequence[object]) -> None:
    """Raise InvalidRequest when every review of a batch is bad, with the first reasons; or one that is our mistake."""
    errors = [item for item in items if isinstance(item, ReviewError)]
    if len(errors) == len(items):
        for error in errors:
            if error.kind == FAILED:
                raise error
        reasons = "; ".join(f"reviews.{i}: {error}" for i, error in enumerate(errors[:3]))
        raise InvalidRequest(f"none of the {len(items)} reviews can be read: {reasons}")
