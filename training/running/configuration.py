"""A stage's settings, from wherever they are set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from contracts.errors import ConfigError
from contracts.stages import SparkConfig, StageConfig
from contracts.validation import what_is_wrong

Settings = TypeVar("Settings", bound=StageConfig)


def load_config(
    kind: type[Settings],
    stage: str,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """A stage's config: defaults < YAML file (its section `stage`, or all of it) < STARS_<STAGE>_<FIELD> < flags.

    Between the file and these stand STARS_SPARK_<FIELD>, for every stage that runs on Spark.

    Raises ConfigError for a file that cannot be read, a name that is not known, or a value out of bounds.
    """
    values: dict[str, Any] = dict(defaults or {})
    if file is not None:
        loaded = read_yaml(file)
        values |= loaded.get(stage, loaded)
    if issubclass(kind, SparkConfig):
        values |= _variables("STARS_SPARK_")
    values |= _variables(f"STARS_{stage}_".upper())
    values |= flags or {}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        wrong = what_is_wrong(error, kind, stage, names=True)
        raise ConfigError(f"the configuration of {stage} is wrong: {wrong}") from error


def _variables(prefix: str) -> dict[str, str]:
    return {key.removeprefix(prefix).lower(): value for key, value in os.environ.items() if key.startswith(prefix)}


def read_yaml(file: Path) -> dict[str, Any]:
    """A file of settings. Raises ConfigError unless it is a YAML mapping."""
    try:
        loaded = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read as YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{file} must hold a mapping of settings")
    return loaded
