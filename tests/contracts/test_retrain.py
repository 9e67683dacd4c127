"""Fault 27: one schema for a retraining, with the presets and the fields that exist."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from contracts.jobs.retrain import Preset, Retrain
from contracts.stages import STAGES
from contracts.validation import what_is_wrong
from training.pipeline.plan import plan
from training.pipeline.request import PRESETS, Run, configurations, presets


def said(**document: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Retrain.model_validate({"data": "reviews.tsv"} | document)
    return what_is_wrong(caught.value, Retrain, "the body")


def test_the_presets_and_stages_are_those_of_the_pipeline() -> None:
    assert list(get_args(Preset)) == presets()
    kinds = {name: stage.config for name, stage in plan().items()}
    assert {name: kinds[name] for name in STAGES} == STAGES
    assert [name for name in kinds if name in STAGES] == list(STAGES)


def test_what_is_asked_for() -> None:
    asked = Retrain.model_validate(
        {"data": "a.tsv", "overrides": {"train": {"epochs": 2, "prior_correction": False}, "prepare": {"limit": 7}}}
    )
    assert (asked.data, asked.preset) == (["a.tsv"], "standard")
    assert asked.changed == {"prepare": {"limit": 7}, "train": {"epochs": 2.0, "prior_correction": False}}
    several = Retrain.model_validate({"data": ["a.tsv", "b.tsv"], "preset": "tiny"})
    assert (several.data, several.changed) == (["a.tsv", "b.tsv"], {})


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"preset": "tinny"}, "preset: is none of what there is; did you mean tiny? What there is: frozen, standard"),
        ({"preset": 5}, "preset: is none of what there is; what there is: frozen, standard, tiny"),
        ({"presets": "tiny"}, "the body: has a field that is not known; did you mean preset? What there is: data, c"),
        ({"overrides": {"trian": {}}}, "overrides: has a field that is not known; did you mean train? What there is: "),
        ({"overrides": {"train": {"epoch": 1}}}, "overrides.train: has a field that is not known; did you mean epochs"),
        ({"overrides": {"train": {"epochs": 0}}}, "overrides.train.epochs: must be more than 0"),
        ({"overrides": {"train": {"epochs": 1e999}}}, "overrides.train.epochs: must be a number, neither infinite nor"),
        ({"overrides": {"train": {"epochs": 10**400}}}, "overrides.train.epochs: must be a number"),
        ({"overrides": {"train": {"epochs": "2"}}}, "overrides.train.epochs: must be a number"),
        ({"overrides": {"train": {"epochs": True}}}, "overrides.train.epochs: must be a number"),
        ({"overrides": {"train": {"epochs": None}}}, "overrides.train.epochs: must be a number"),
        ({"overrides": {"train": {"batch_size": 1.5}}}, "overrides.train.batch_size: must be a whole number"),
        ({"overrides": {"train": {"batch_size": 10**400}}}, "overrides.train.batch_size: must be 65536 or less"),
        ({"overrides": {"evaluate": {"beat_baseline": 1}}}, "overrides.evaluate.beat_baseline: must be true or false"),
        ({"overrides": {"train": 3}}, "overrides.train: must be an object"),
        ({"overrides": []}, "overrides: must be an object"),
        ({"data": 5}, "data: must be a name or a list of names"),
        ({"data": []}, "data: must hold 1 or more"),
        ({"data": ["x"] * 75_000}, "data: must hold 100 or fewer"),
        ({"data": "x" * 75_000}, "data.0: must have 1024 characters or fewer"),
        ({"data": ["a", 5]}, "data.1: must be a text"),
    ],
    ids=lambda given: str(given)[:60],
)  # fmt: skip
def test_what_makes_no_sense(document: dict[str, Any], sentence: str) -> None:
    assert said(**document).startswith(sentence)


@pytest.mark.parametrize(("stage", "name"), [
    ("export", "store"), ("export", "name"), ("evaluate", "store"), ("train", "tracking"),
    ("prepare", "base_model"), ("train", "mode"),
])  # fmt: skip
def test_paths_urls_and_names_are_never_a_callers(stage: str, name: str) -> None:
    sentence = f"overrides.{stage}: {name} cannot be chosen by a request"
    assert said(overrides={stage: {name: "/etc"}}).startswith(sentence)


def test_whatever_is_accepted_makes_a_sound_configuration_of_every_preset() -> None:
    """The gateway never sees the presets: this holds as long as every field is checked by itself."""
    for config in STAGES.values():
        checks = config.__pydantic_decorators__.model_validators.values()
        assert all(each.info.mode == "before" for each in checks), "fields that are checked together"
    bounds = {"prepare": {"validation_fraction": 0.49, "token_limit": 512}, "train": {"epochs": 1000, "pad_to": 512}}
    changed = Retrain.model_validate({"data": "x", "overrides": bounds}).changed
    for preset in presets():
        made = configurations(Run((), preset, "store", PRESETS, overrides=changed), STAGES)
        assert made["train"].model_dump()["epochs"] == 1000


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_stage_takes_no_infinite_numbers_from_anybody(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        STAGES["train"].model_validate({"epochs": value})
