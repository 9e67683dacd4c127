"""What a pipeline is asked to do, and the settings of its stages that follow from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError
from contracts.installation import ROOT
from contracts.stages import SparkConfig, StageConfig, TrackedConfig
from training.running.configuration import load_config, read_yaml

PRESETS = ROOT / "training" / "presets"


@dataclass(frozen=True)
class Run:
    """What a pipeline is asked to do. `overrides` are flags such as {"train": {"epochs": 2}}.

    `data` are files, folders, patterns and URLs, or one data set.
    `master` is the Spark master of every stage that runs on Spark; None leaves it to the settings.
    """

    data: tuple[str | Path, ...]
    preset: str
    store: str
    work: Path
    name: str = "review-stars"
    config_file: Path | None = None
    overrides: Mapping[str, Mapping[str, Any]] | None = None
    patience: float = 0.0
    """Seconds that a store which is away is waited for, each time."""
    master: str | None = None
    tracking: str = ""
    """MLflow tracking URI where the settings name none; empty leaves it to the stage's own folder."""


def presets() -> list[str]:
    """The names that `--preset` takes."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def configurations(request: Run, kinds: Mapping[str, type[StageConfig]]) -> dict[str, StageConfig]:
    """The settings of every stage: preset < the request's file < environment < its overrides.

    Raises ConfigError when one is wrong, or when there is no such preset or stage.
    """
    if request.preset not in presets():
        raise ConfigError(f"there is no preset {request.preset!r}: choose one of {', '.join(presets())}")
    layers = [_sections(PRESETS / f"{request.preset}.yaml", kinds)]
    if request.config_file is not None:
        layers.append(_sections(request.config_file, kinds))
    overrides = request.overrides or {}
    if unknown := set(overrides) - set(kinds):
        raise ConfigError(f"there is no stage {', '.join(sorted(unknown))}: choose from {', '.join(kinds)}")
    shared = {"name": request.name, "store": request.store}
    configs: dict[str, StageConfig] = {}
    for stage, kind in kinds.items():
        values: dict[str, Any] = {"tracking": request.tracking} if issubclass(kind, TrackedConfig) else {}
        for layer in layers:
            values |= layer.get(stage, {})
        values |= {name: value for name, value in shared.items() if name in kind.model_fields}
        flags: dict[str, Any] = {"master": request.master} if request.master and issubclass(kind, SparkConfig) else {}
        configs[stage] = load_config(kind, stage, defaults=values, flags=flags | dict(overrides.get(stage, {})))
    return configs


def _sections(file: Path, stages: Collection[str]) -> dict[str, dict[str, Any]]:
    loaded = read_yaml(file)
    if not all(isinstance(part, dict) for part in loaded.values()):
        raise ConfigError(f"{file} must hold one mapping for each stage it configures")
    if unknown := set(loaded) - set(stages):
        raise ConfigError(f"{file} configures {', '.join(sorted(unknown))}: the stages are {', '.join(stages)}")
    return loaded


def parse_overrides(settings: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`train.epochs=2` and its like, by stage. Raises ConfigError for another form."""
    parsed: dict[str, dict[str, Any]] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        stage, dot, field = key.partition(".")
        if not (equals and dot and stage and field):
            raise ConfigError(f"--set {setting!r} must look like STAGE.FIELD=VALUE, for example train.epochs=2")
        parsed.setdefault(stage, {})[field] = value
    return parsed
