"""What POST /predict takes and answers."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from contracts.review import LANGUAGE
from contracts.wire import Unfamiliar
from service.errors import ErrorBody

EXAMPLES: dict[str, dict[str, Any]] = json.loads(
    resources.files("service.predict").joinpath("examples.json").read_text(encoding="utf-8")
)
"""Requests and the bundled release's answers to them, by name. `make examples` writes the answers."""

ONE, SEVERAL = EXAMPLES.values()


class ReviewIn(BaseModel):
    """One customer review."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [ONE["request"]]}
    )

    text: str = Field(description=f"The review itself. The model knows {LANGUAGE}; see `unfamiliar` for the rest.")
    title: str | None = Field(None, description="Its headline, if it has one.")
    category: str | None = Field(None, description="What kind of product it is about, if known.")


class BatchIn(BaseModel):
    """Several reviews, answered in their order."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [SEVERAL["request"]]})

    reviews: list[ReviewIn] = Field(min_length=1)


class Answer(BaseModel):
    """The star rating that the model gives a review."""

    model_config = ConfigDict(json_schema_extra={"examples": [ONE["answer"]]})

    stars: int = Field(ge=1, le=5, description="The most probable rating.")
    expected_stars: float = Field(ge=1, le=5, description="The mean rating under the probabilities.")
    confidence: float = Field(
        ge=0, le=1, description="The probability of `stars`. Calibrated: of the answers with 0.7, about 70 % are right."
    )
    likely: list[int] | None = Field(
        description="The stars among which the true rating is in nine of ten reviews, in order. Null where the release "
        "was not calibrated for it."
    )
    probabilities: dict[str, float] = Field(description='A probability for each of "1" to "5"; they add up to 1.')
    truncated: bool = Field(description="Whether some of the text was left out to stay within the token limit.")
    tokens: int = Field(description="Tokens that the model read.")
    unfamiliar: Unfamiliar | None = Field(
        description="Where not null, the stars mean little: the text seems to be in another script or language than "
        f"the model was trained on, which is {LANGUAGE}. A hint: a text of fewer than four words gets none by language."
    )
    model: str
    version: str = Field(description="The release that answered.")


class BatchAnswer(BaseModel):
    """An answer or an error for each review, in order."""

    model_config = ConfigDict(json_schema_extra={"examples": [SEVERAL["answer"]]})

    predictions: list[Answer | ErrorBody]
    model: str
    version: str
