"""What MLflow is told of a run besides its curves, from the settings and the facts of its stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.stages import StageConfig
from training.tracking.tracker import DATASET_TAG, RELEASE_TAG, VERDICT_TAG

Facts = Mapping[str, Mapping[str, Any]]
"""Of each stage that is done, by name."""

_TAGS = {
    DATASET_TAG: ("prepare", "dataset_sha256"),
    VERDICT_TAG: ("evaluate", "verdict"),
    RELEASE_TAG: ("export", "version"),
}


def parameters(configs: Mapping[str, StageConfig]) -> dict[str, Any]:
    """Every setting that decides a result, as train.epochs."""
    dumped = {stage: config.model_dump(mode="json") for stage, config in configs.items()}
    return {f"{stage}.{field}": value for stage, fields in dumped.items() for field, value in fields.items()}


def tags(facts: Facts) -> dict[str, str]:
    """What it was trained on, what was thought of it, and the release that it became, as far as that is known."""
    return {tag: str(facts[stage][fact]) for tag, (stage, fact) in _TAGS.items() if fact in facts.get(stage, {})}


def final_metrics(facts: Facts) -> dict[str, float]:
    """What the whole test split says: test_accuracy and so on."""
    return {f"test_{name}": float(measured["value"]) for name, measured in facts["evaluate"].get("metrics", {}).items()}
