"""From logits to the answer that a client gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from contracts.errors import ReviewError
from contracts.isolation import FAILED
from contracts.review import STARS
from contracts.wire import Prediction
from service.errors import InvalidRequest

DIGITS = 4


def probabilities(logits: Sequence[float], temperature: float) -> list[float]:
    """Softmax of logits / temperature (Guo et al. 2017, arXiv:1706.04599), rounded so that the sum is still 1."""
    top = max(logits)
    weights = [math.exp((logit - top) / temperature) for logit in logits]
    total = sum(weights)
    rounded = [round(weight / total, DIGITS) for weight in weights]
    largest = logits.index(top)
    others = sum(p for i, p in enumerate(rounded) if i != largest)
    rounded[largest] = round(1 - others, DIGITS)
    return rounded


def answer(prediction: Prediction, temperature: float, model: str, version: str) -> dict[str, Any]:
    """The answer of contract 4. `stars` is the rating with the largest logit; temperature cannot change which."""
    chances = probabilities(prediction.logits, temperature)
    best = prediction.logits.index(max(prediction.logits))
    return {
        "stars": STARS[best],
        "expected_stars": round(sum(star * p for star, p in zip(STARS, chances, strict=True)), DIGITS),
        "confidence": chances[best],
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
