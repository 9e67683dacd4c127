"""What the gateway and the handler say to each other about reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    pass


Unfamiliar = Literal["script", "language"]
"""What about a text is outside the training, so that its stars mean little: another script, or another language."""


class ReviewItem(TypedDict):
    """One review on its way to the model."""

    text: str
    title: NotRequired[str]
    category: NotRequired[str]


class PredictionRequest(TypedDict):
    """The body of POST /predictions/<model>/<version>."""

    reviews: list[ReviewItem]
    deadline: NotRequired[float]
    """Seconds since 1970 after which nobody waits for the answer. The two clocks must agree within a second or so."""


class Prediction(TypedDict):
    """A review's five raw logits (one star to five), how much of it the model read, and whether it knows such text."""

    logits: list[float]
    tokens: int
    truncated: bool
    unfamiliar: Unfamiliar | None


class ItemError(TypedDict):
    """`type` is a stable word, `message` a sentence for the client. Neither quotes the review."""

    type: str
    message: str


class FailedPrediction(TypedDict):
    """Why a review has no prediction."""

    error: ItemError


class PredictionResponse(TypedDict):
    """One prediction a review, in the request's order.

    A request that cannot be read at all is answered with status 400 and a `FailedPrediction`, one whose deadline has
    passed with 504.
    """

    predictions: list[Prediction | FailedPrediction]
    infer_ms: float
