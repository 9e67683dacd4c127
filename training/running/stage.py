"""Contract 2: a stage is `run(config, inputs, outputs, report) -> facts`, wherever it runs.

`execute` is the one way to run one: it skips a stage whose inputs, config and code are unchanged, keeps what an
interrupted run of the same work left behind (a stage may resume from it), and writes `facts.json` last, so a folder
with facts is a finished stage. `main` is `python -m training <stage>`: plain flags, or SageMaker's container layout.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml
from pydantic import ValidationError

from contracts.errors import ConfigError, MachineError, StarsError
from contracts.installation import ROOT
from contracts.stages import StageConfig
from contracts.validation import explain
from training.running.folder import FACTS, begin, check_folder, read_facts, started, write_whole
from training.running.interrupt import AGAIN, INTERRUPTED, check, interruptible

_FRAMEWORKS = ("keras", "tensorflow", "torch", "pyspark", "tokenizers", "numpy")


class Reporter(Protocol):
    """Where a stage says how far it is. Never gets review text."""

    def progress(self, fraction: float, message: str) -> None: ...

    def log(self, message: str) -> None: ...


class StderrReporter:
    """Plain lines for a container's or a job's log."""

    def progress(self, fraction: float, message: str) -> None:
        sys.stderr.write(f"{fraction:6.1%} {message}\n")

    def log(self, message: str) -> None:
        sys.stderr.write(f"{message}\n")


class _Attentive:
    """Passes on what a stage says, and ends it there when it was asked to stop and does not know it."""

    def __init__(self, report: Reporter) -> None:
        self._report = report

    def progress(self, fraction: float, message: str) -> None:
        check()
        self._report.progress(fraction, message)

    def log(self, message: str) -> None:
        check()
        self._report.log(message)


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
        facts = stage.run(config, _Inputs(inputs), outputs, _Attentive(report))
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


def main(stage: Stage) -> int:
    """`python -m training <stage>`. Returns the exit code; inside SageMaker a failure is also written down there."""
    sagemaker = "SM_MODEL_DIR" in os.environ
    try:
        with interruptible(StderrReporter().log):
            if sagemaker:
                _main_sagemaker(stage)
            else:
                _main_flags(stage)
    except StarsError as error:
        if sagemaker:
            _write_failure(str(error))
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{AGAIN}\n")
        return INTERRUPTED
    except Exception:
        if sagemaker:
            _write_failure(traceback.format_exc())
        raise
    return 0


def _main_flags(stage: Stage) -> None:
    parser = argparse.ArgumentParser(prog=f"python -m training {stage.NAME}", description=stage.__doc__)
    parser.add_argument("--input", action="append", default=[], metavar="NAME=PATH", help="an input of the stage")
    parser.add_argument("--output", required=True, type=Path, help="folder for what the stage makes")
    parser.add_argument("--config", type=Path, help="YAML file with settings")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting")
    args = parser.parse_args()
    inputs = {k: Path(v) for k, v in (_pair(text, "--input") for text in args.input)}
    config = load_config(stage.Config, stage.NAME, args.config, dict(_pair(text, "--set") for text in args.set))
    execute(stage, config, inputs, args.output, StderrReporter())


def _main_sagemaker(stage: Stage) -> None:
    """SageMaker's layout: channels in SM_CHANNEL_*, hyperparameters.json, results in SM_MODEL_DIR."""
    base = Path(os.environ.get("SM_INPUT_CONFIG_DIR", "/opt/ml/input/config"))
    file = base / "hyperparameters.json"
    flags: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    flags = {name: value for name, value in flags.items() if not name.startswith("sagemaker_")}
    prefix = "SM_CHANNEL_"
    inputs = {k.removeprefix(prefix).lower(): Path(v) for k, v in os.environ.items() if k.startswith(prefix)}
    outputs = Path(os.environ["SM_MODEL_DIR"])
    # Spot training keeps checkpoints in the output folder too: SageMaker syncs it when it is the checkpoint path.
    facts = execute(stage, load_config(stage.Config, stage.NAME, None, flags), inputs, outputs, StderrReporter())
    data = os.environ.get("SM_OUTPUT_DATA_DIR")
    if data is not None:
        Path(data).mkdir(parents=True, exist_ok=True)
        (Path(data) / FACTS).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_failure(reason: str) -> None:
    folder = Path(os.environ.get("SM_OUTPUT_DIR", "/opt/ml/output"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failure").write_text(reason[:1024], encoding="utf-8")


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigError(f"{flag} {text!r} must look like NAME=VALUE")
    return name, value
