"""Do the headlines give the stars away? The same reviews without them, answered by the same model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from contracts.review import segments
from training.data.arrays import Floats
from training.data.labelled import LabelledReviews, answerable, prepared_encoder
from training.data.tokens import TokenRows
from training.judge.metrics import Interval, paired_difference, predicted_stars


class AnswersTokens(Protocol):
    """What answers tokens with logits (n, 5)."""

    def logits(self, tokens: TokenRows) -> Floats: ...


def judge_without_headlines(
    model: AnswersTokens, prepare: Path, test: LabelledReviews, logits: Floats
) -> dict[str, Any]:
    """How many reviews have a headline, and how accuracy and MAE change without any; `logits` (n, 5) are with them.

    All stars weigh the same. A headline is worth a few points, for it sums the text up; one that is worth much more
    says the rating.
    """
    bare = [segments(text.second, "", category) for text, category in zip(test.segments, test.categories, strict=True)]
    changed = np.array([row for row, text in enumerate(test.segments) if text != bare[row]], dtype=np.int64)
    without = logits.copy()
    if len(changed):
        read, tokens, _ = answerable(prepared_encoder(prepare), [bare[row] for row in changed])
        without[changed[read]] = model.logits(tokens)
    truth, seen, unseen = test.stars, predicted_stars(logits), predicted_stars(without)
    differences: dict[str, Interval] = {
        "accuracy": paired_difference(1.0 * (unseen == truth), 1.0 * (seen == truth), truth),
        "mae": paired_difference(1.0 * np.abs(unseen - truth), 1.0 * np.abs(seen - truth), truth),
    }
    return {"rows": len(changed), "difference": differences}
