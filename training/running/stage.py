"""Contract 2: a stage is `run(config, inputs, outputs, report) -> facts`, wherever it runs.

`execute` is the one way to run one: it skips a stage whose inputs, config and code are unchanged, keeps what an
interrupted run of the same work left behind (a stage may resume from it), and writes `facts.json` last, so a folder
with facts is a finished stage.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml
from pydantic import ValidationError

from contracts.errors import ConfigError, MachineError
from contracts.installation import ROOT
from contracts.stages import StageConfig
from contracts.validation import explain
from training.running.folder import FACTS, begin, check_folder, read_facts, started, write_whole
from training.running.reporting import Reporter

_FRAMEWORKS = ("keras", "tensorflow", "torch", "pyspark", "tokenizers", "numpy")


class Stage(Protocol):
    """What a stage's module offers. `SOURCES` are the project files whose code decides its result.

    It may also offer `named_inputs(config, inputs) -> {name: path}`: what its settings name and nobody has given, to be
    fingerprinted by content like all inputs.
    """

    @property
    def NAME(self) -> str: ...

    @property
    def SOURCES(self) -> Sequence[str]: ...

    @property
    def Config(self) -> type[StageConfig]: ...

    def run(self, config: Any, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]: ...


def code_fingerprint(sources: Sequence[str]) -> str:
    """A hash of what the sources compute. Comments, docstrings and formatting don't count."""
    digest = hashlib.sha256()
    for name in sources:
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            first = body[0] if isinstance(body, list) and body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                first.value.value = ""
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def input_fingerprint(path: Path) -> str:
    """A finished stage's own fingerprint, or the content of a file or of all files in a folder."""
    if (path / FACTS).is_file():
        return str(read_facts(path)["fingerprint"])
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise ConfigError(f"input {path} does not exist or is empty: check the path")
    top = path if path.is_dir() else path.parent
    joined = "".join(f"{file.relative_to(top)}:{file_sha256(file)}" for file in files)
    return hashlib.sha256(joined.encode()).hexdigest()


def execute(
    stage: Stage,
    config: StageConfig,
    inputs: Mapping[str, Path],
    outputs: Path,
    report: Reporter,
    still_holds: Callable[[Mapping[str, Any]], bool] | None = None,
) -> dict[str, Any]:
    """Run a stage unless it is done, and return its facts.

    `still_holds` is asked about the facts of a finished stage whose result lies elsewhere: export's, in the store.

    Raises the stage's own StarsError, ConfigError when `outputs` is not the stage's own folder, or MachineError for a
    full disk. What the stage wrote stays for the next run.
    """
    check_folder(outputs, stage.NAME)
    if hasattr(stage, "named_inputs"):
        inputs = {**stage.named_inputs(config, inputs), **inputs}
    fingerprint = hashlib.sha256(
        json.dumps(
            {
                "stage": stage.NAME,
                "config": config.model_dump(mode="json"),
                "inputs": {name: input_fingerprint(path) for name, path in sorted(inputs.items())},
                "code": code_fingerprint(stage.SOURCES),
            },
            sort_keys=True,
        ).encode()
    ).hexdigest()
    if (outputs / FACTS).is_file() and (facts := read_facts(outputs)).get("fingerprint") == fingerprint:
        if still_holds is None or still_holds(facts):
            report.log(f"{stage.NAME}: unchanged, skipped")
            return facts
        (outputs / FACTS).unlink()
    try:
        resumed = started(outputs) == (stage.NAME, fingerprint)
        if not resumed:
            begin(outputs, stage.NAME, fingerprint)
        began = time.monotonic()
        facts = stage.run(config, _Inputs(inputs), outputs, report)
        facts |= {
            "stage": stage.NAME,
            "fingerprint": fingerprint,
            "seconds": round(time.monotonic() - began, 1),
            "resumed": resumed,
            "config": config.model_dump(mode="json"),
            "versions": {"python": platform.python_version()} | loaded_versions(),
        }
        write_whole(outputs / FACTS, json.dumps(facts, indent=2, sort_keys=True) + "\n")
    except OSError as error:
        raise MachineError(
            f"{stage.NAME} could not write to {outputs}: {error.strerror or error}. "
            "Free some space or choose another folder, then run it again: it goes on where it was"
        ) from error
    return facts


def loaded_versions() -> dict[str, str]:
    """The versions of the frameworks that this process has loaded, by module: their packages have several names."""
    loaded = {name: sys.modules[name] for name in _FRAMEWORKS if name in sys.modules}
    return {name: str(module.__version__) for name, module in loaded.items() if hasattr(module, "__version__")}


class _Inputs(dict[str, Path]):
    """The inputs by name; one that was not given is a ConfigError."""

    def __missing__(self, name: str) -> Path:
        raise ConfigError(f"the input {name!r} is missing: give its folder, on the command line as --input {name}=PATH")


def load_config(
    kind: type[StageConfig],
    name: str,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Any:
    """A stage's config: defaults < YAML file (its section `name`, or all of it) < STARS_<STAGE>_<FIELD> < flags."""
    values: dict[str, Any] = dict(defaults or {})
    if file is not None:
        try:
            loaded = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{file} cannot be read as YAML: {error}") from error
        if not isinstance(loaded, dict):
            raise ConfigError(f"{file} must hold a mapping of settings")
        values |= loaded.get(name, loaded)
    prefix = f"STARS_{name}_".upper()
    values |= {key.removeprefix(prefix).lower(): value for key, value in os.environ.items() if key.startswith(prefix)}
    values |= flags or {}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"the configuration of {name} is wrong: {explain(error, kind, name, names=True)}") from error
