"""Sources of reviews read into memory, without a data set: what a release is judged on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from contracts.errors import DataError, ReviewError
from contracts.isolation import alone
from contracts.review import Cleaned, Segments
from contracts.stages import IngestConfig
from training.data.dataset import open_quarantine, open_reviews, read_card
from training.data.labelled import LabelledReview, LabelledReviews
from training.ingest.part import rows_of
from training.ingest.recognise import recognise
from training.ingest.remote.download import bring_here
from training.ingest.row import ReviewRow
from training.ingest.sources import find_files, sole_data_set
from training.running.reporting import StageReporter


@dataclass(frozen=True)
class Skipped:
    """Rows that could not be judged. A row may have several reasons."""

    rows: int
    reasons: dict[str, int]


def read_labelled(
    data: Sequence[str | Path], limit: int | None = None, config: IngestConfig | None = None
) -> tuple[LabelledReviews, Skipped]:
    """The good rows of files in any known layout, here or elsewhere, or of a data set; with `limit`, the first so many.

    Raises DataError for a file that is missing, damaged or without the needed columns, and when no row is good.
    """
    kept: list[LabelledReview] = []
    texts: list[Segments] = []
    bad: list[list[str]] = []
    try:
        for row in _rows(data, config or IngestConfig()):
            review = alone(_labelled, row) if isinstance(row, LabelledFields) else row
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


def _rows(data: Sequence[str | Path], config: IngestConfig) -> Iterator[LabelledFields | list[str]]:
    """What a data set has put aside counts as rows that could not be judged, for the reasons that it has."""
    if (data_set := sole_data_set(data)) is not None:
        read_card(data_set)
        for batch in open_reviews(data_set).to_batches(columns=list(LabelledFields._fields), batch_size=1000):
            yield from map(LabelledFields._make, zip(*(column.to_pylist() for column in batch.columns), strict=True))
        for batch in open_quarantine(data_set).to_batches(columns=["reasons"]):
            yield from batch["reasons"].to_pylist()
        return
    with TemporaryDirectory(prefix="stars-") as folder:
        for path in find_files(bring_here(data, Path(folder), StageReporter("download", []))):
            for _, _, review in rows_of(recognise(path, config), path):
                yield review if isinstance(review, list) else _fields(review)


class LabelledFields(NamedTuple):
    """What of a row is judged, by its names in a data set."""

    review_id: str
    product_category: str
    star_rating: int
    review_headline: str | None
    review_body: str


def _fields(row: ReviewRow) -> LabelledFields:
    return LabelledFields(row.review_id, row.product_category, row.star_rating, row.review_headline, row.review_body)


def _labelled(row: LabelledFields) -> LabelledReview:
    return LabelledReview.of(*row)
