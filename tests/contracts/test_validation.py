from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.validation import findings, nearest, what_is_wrong


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    epochs: float = Field(1, gt=0, le=10, allow_inf_nan=False)
    mode: Literal["fine_tune", "frozen"] = "frozen"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str
    inner: Inner = Inner()
    several: list[Inner] = Field(default_factory=list, max_length=2)
    either: str | list[str] = ""


def said(**document: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(document)
    return what_is_wrong(caught.value, Outer, "the body")


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "text: is missing"),
        ({"text": 3}, "text: must be a text"),
        ({"text": "", "inner": {"epochs": 0}}, "inner.epochs: must be more than 0"),
        ({"text": "", "inner": {"epochs": 1e999}}, "inner.epochs: must be a number, neither infinite nor NaN"),
        ({"text": "", "inner": {"epochs": "many"}}, "inner.epochs: must be a number"),
        ({"text": "", "inner": []}, "inner: must be an object"),
        ({"text": "", "several": [{}, {"epochs": 11}]}, "several.1.epochs: must be 10 or less"),
        ({"text": "", "several": [{}, {}, {}]}, "several: must hold 2 or fewer"),
        ({"text": "", "either": 7}, "either: must be a text"),
        (
            {"text": "", "several": [{"epoch": 1}]},
            "several.0: has a field that is not known; did you mean epochs? What there is: epochs, mode",
        ),
        (
            {"text": "", "inner": {"mode": "freeze"}},
            "inner.mode: is none of what there is; did you mean frozen? What there is: fine_tune, frozen",
        ),
    ],
)  # fmt: skip
def test_each_finding_is_a_sentence_with_its_place(document: dict[str, Any], sentence: str) -> None:
    assert said(**document) == sentence


def test_nothing_that_was_sent_is_quoted() -> None:
    secret = "my-secret-text"
    for document in ({secret: 1}, {"text": [secret]}, {"text": "", "inner": {secret: 1, "mode": secret}}):
        assert secret not in said(**document)


def test_several_findings_each_come_once() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {"mode": "x", "epochs": -1}, "unknown": 1, "unheard": 2})
    assert [place for place, _ in findings(caught.value, Outer)] == ["text", "inner.epochs", "inner.mode", ""]


def test_a_name_that_is_near_nothing_brings_no_question() -> None:
    assert nearest("zzzz", ["data", "preset"]) == "what there is: data, preset"
    assert nearest("prest", ["data", "preset"]) == "did you mean preset? What there is: data, preset"


def test_an_operator_is_told_the_name_that_is_not_known() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"text": "", "inner": {"epoch": 1}})
    sentence = "inner.epoch: is not known; did you mean epochs? What there is: epochs, mode"
    assert what_is_wrong(caught.value, Outer, "train", names=True) == sentence
