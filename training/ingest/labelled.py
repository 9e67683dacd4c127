"""Sources of reviews read into memory, without a data set: what a release is judged on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from contracts.errors import DataError, ReviewError
from contracts.isolation import alone
from contracts.review import Cleaned, Segments
from contracts.stages import IngestConfig
from training.data.labelled import LabelledReview, LabelledReviews
from training.ingest.part import rows_of
from training.ingest.recognise import recognise
from training.ingest.row import ReviewRow
from training.ingest.sources import find_files


@dataclass(frozen=True)
class Skipped:
    """Rows that could not be judged. A row may have several reasons."""

    rows: int
    reasons: dict[str, int]


def read_labelled(
    data: Sequence[str | Path], limit: int | None = None, config: IngestConfig | None = None
) -> tuple[LabelledReviews, Skipped]:
    """The good rows of files in any known layout; with `limit`, only the first so many.

    Raises DataError for a file that is missing, damaged or without the needed columns, and when no row is good.
    """
    kept: list[LabelledReview] = []
    texts: list[Segments] = []
    bad: list[list[str]] = []
    try:
        for row in _rows(data, config or IngestConfig()):
            review = alone(_labelled, row) if isinstance(row, ReviewRow) else row
            text = alone(Cleaned.segments, review.text) if isinstance(review, LabelledReview) else review
            if isinstance(text, ReviewError):
                bad.append([text.kind])
            elif isinstance(review, LabelledReview) and isinstance(text, Segments):
                kept.append(review)
                texts.append(text)
            elif isinstance(review, list):
                bad.append(review)
            if len(kept) == limit:
                break
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
    skipped = Skipped(len(bad), dict(sorted(Counter(chain.from_iterable(bad)).items())))
    if not kept:
        reasons_found = ", ".join(f"{count} {reason}" for reason, count in skipped.reasons.items()) or "no rows"
        raise DataError(f"no row can be judged ({reasons_found}): bring rows with a text and a star from 1 to 5")
    return LabelledReviews.of(kept, texts), skipped


def _rows(data: Sequence[str | Path], config: IngestConfig) -> Iterator[ReviewRow | list[str]]:
    for path in find_files(data):
        for _, _, review in rows_of(recognise(path, config), path):
            yield review


def _labelled(row: ReviewRow) -> LabelledReview:
    return LabelledReview.of(row.review_id, row.product_category, row.star_rating, row.review_headline, row.review_body)
