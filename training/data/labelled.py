"""Labelled reviews in memory: what a model is judged on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contracts.errors import ReviewError
from contracts.isolation import alone
from contracts.review import Cleaned, Segments
from contracts.tokens import Encoded, ReviewEncoder, Truncation
from training.data.arrays import Ints
from training.data.dataset import PARTITION, UNKNOWN_CATEGORY, open_reviews
from training.data.splits import read_split
from training.data.tokens import TokenRows
from training.running.folder import read_facts


@dataclass(frozen=True, slots=True)
class LabelledReview:
    """A good row: its true stars, and its text, cleaned here and nowhere after. The category is as the file has it."""

    review_id: str
    product_category: str
    star_rating: int
    text: Cleaned

    @classmethod
    def of(cls, review_id: str, category: str, star_rating: int, headline: str | None, body: str) -> LabelledReview:
        """A row of a data set. An unknown category is none."""
        category = "" if category == UNKNOWN_CATEGORY else category
        return cls(review_id, category, star_rating, Cleaned.of(body, headline or "", category))


@dataclass(frozen=True)
class LabelledReviews:
    """Rows of equal length, row by row in the same order. `body_words` counts words before any truncation."""

    segments: list[Segments]
    stars: Ints
    categories: list[str]
    body_words: Ints

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def texts(self) -> list[str]:
        """Each review as one text, for a bag of words."""
        return [f"{first}\n{second}" for first, second in self.segments]

    def take(self, rows: Ints) -> LabelledReviews:
        """The rows with these numbers, in this order."""
        return LabelledReviews(
            [self.segments[row] for row in rows],
            self.stars[rows],
            [self.categories[row] for row in rows],
            self.body_words[rows],
        )

    @classmethod
    def of(cls, reviews: Sequence[LabelledReview], texts: list[Segments]) -> LabelledReviews:
        """Reviews with their text for the model."""
        return cls(
            texts,
            np.array([review.star_rating for review in reviews], dtype=np.int64),
            [review.product_category for review in reviews],
            np.array([len(text.second.split()) for text in texts], dtype=np.int64),
        )

    @classmethod
    def of_data_set(cls, folder: Path) -> tuple[LabelledReviews, list[tuple[str, int]]]:
        """The good reviews of a data set, and where each came from: source and row. Raises DataError where none is."""
        places: list[tuple[str, int]] = []
        kept: list[LabelledReview] = []
        texts: list[Segments] = []
        columns = ["review_id", PARTITION, "star_rating", "review_headline", "review_body"]
        for batch in open_reviews(folder).to_batches(columns=[*columns, "source", "row"]):
            for row in batch.to_pylist():
                review = alone(lambda each: LabelledReview.of(*(each[name] for name in columns)), row)
                text = alone(Cleaned.segments, review.text) if isinstance(review, LabelledReview) else review
                if isinstance(review, LabelledReview) and isinstance(text, Segments):
                    places.append((row["source"], row["row"]))
                    kept.append(review)
                    texts.append(text)
        return cls.of(kept, texts), places

    @classmethod
    def from_split(cls, prepare: Path, split: str) -> LabelledReviews:
        """A split of a finished prepare stage. Raises DataError when it is missing or empty."""
        table = read_split(prepare, split, ["star_rating", "product_category", "body_words", "first", "second"])
        return cls(
            [Segments(*pair) for pair in zip(table["first"].to_pylist(), table["second"].to_pylist(), strict=True)],
            table["star_rating"].to_numpy().astype(np.int64),
            table["product_category"].to_pylist(),
            table["body_words"].to_numpy().astype(np.int64),
        )


def answerable(encoder: ReviewEncoder, texts: Sequence[Segments]) -> tuple[Ints, TokenRows, dict[str, int]]:
    """The numbers of the texts that the encoder takes, their tokens, and how many of the others there are by reason."""
    answers = encoder.encode_each(texts)
    taken = {row: answer for row, answer in enumerate(answers) if isinstance(answer, Encoded)}
    refused = Counter(answer.kind for answer in answers if isinstance(answer, ReviewError))
    return np.array([*taken], dtype=np.int64), TokenRows.of([*taken.values()]), dict(refused)


def prepared_encoder(prepare: Path) -> ReviewEncoder:
    """The tokenizer, token limit and truncation policy that a finished prepare stage used.

    For other texts than its own: those are stored with their tokens, `TokenRows.stored`.
    """
    config = read_facts(prepare)["config"]
    return ReviewEncoder(prepare / "tokenizer.json", config["token_limit"], Truncation(config["truncation"]))
