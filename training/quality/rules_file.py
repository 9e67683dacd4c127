"""rules.yaml, read and checked: what is wrong with it is one sentence, before anything is measured."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import yaml
from pydantic import ValidationError

from contracts.errors import ConfigError
from contracts.installation import ROOT
from contracts.validation import nearest, what_is_wrong
from training.quality import anomalies, rules
from training.quality.rule import Rule

DEFAULT_RULES = ROOT / "training" / "quality" / "rules.yaml"


def checks() -> dict[str, type[Rule]]:
    """Every rule that can be written, by its name: what compares with the history last."""
    kinds = (*rules.RULES, *anomalies.RULES)
    return {get_args(kind.model_fields["check"].annotation)[0]: kind for kind in kinds}


def read_rules(file: Path) -> tuple[Rule, ...]:
    """The rules in their order. Raises ConfigError with one sentence that names the file and the rule."""
    try:
        loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the rules cannot be read from {file}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f" (line {mark.line + 1})" if mark else ""
        raise ConfigError(f"{file} is no YAML{at}: compare it with {DEFAULT_RULES}") from error
    listed = loaded.get("rules") if isinstance(loaded, dict) and loaded.keys() == {"rules"} else None
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{file} must hold one list, named rules, with a rule in it: compare it with {DEFAULT_RULES}")
    return tuple(_rule(file, number, each) for number, each in enumerate(listed, 1))


def _rule(file: Path, number: int, written: object) -> Rule:
    known = checks()
    check = written.get("check") if isinstance(written, dict) else None
    if not isinstance(check, str):
        raise ConfigError(f"rule {number} in {file} names no check: write check: and one of {', '.join(known)}")
    if check not in known:
        raise ConfigError(f"rule {number} in {file}: there is no check {check!r}; {nearest(check, known)}")
    try:
        return known[check].model_validate(written)
    except ValidationError as error:
        wrong = what_is_wrong(error, known[check], check, names=True)
        raise ConfigError(f"rule {number} in {file}, {check}, cannot be used: {wrong}") from error
