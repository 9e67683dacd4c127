"""Contract 3, the documents beside the manifest: what all of them share, and golden.json."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from contracts.validation import findings

Finite = Annotated[float, Field(allow_inf_nan=False)]
Tolerance = Annotated[Finite, Field(gt=0, le=1)]
"""How far a logit may be from the golden one."""


class Document(BaseModel):
    """Base of what a release's files hold: frozen, and unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class GoldenCase(Document):
    """A review with the logits that the model gave when it was released, untempered, and the stars they mean."""

    text: Annotated[str, Field(min_length=1)]
    title: str = ""
    category: str = ""
    logits: tuple[Finite, Finite, Finite, Finite, Finite]
    stars: Annotated[int, Field(ge=1, le=5)]

    @model_validator(mode="after")
    def _stars_follow_logits(self) -> Self:
        if self.logits[self.stars - 1] < max(self.logits):
            raise ValueError("the stars are not those of the largest logit")
        return self


def _at_least_one(cases: tuple[GoldenCase, ...]) -> tuple[GoldenCase, ...]:
    if not cases:
        raise ValueError("no case at all")
    return cases


class Golden(Document):
    """golden.json: what a loaded model must answer before it gets traffic, each logit within `tolerance`.

    An engine may have a tolerance of its own in the manifest.
    """

    tolerance: Tolerance = 0.02
    cases: Annotated[tuple[GoldenCase, ...], AfterValidator(_at_least_one)]


def explain_file(file: str, error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line per field that is wrong. Never the value: golden cases hold review text."""
    return [
        f"{file}: {place}: {said}" if place else f"{file}: {said}" for place, said in findings(error, model, names=True)
    ]
