"""All stages in order: prepare, train, convert, evaluate, export. Unchanged stages are skipped, cut-off ones resumed.

`python -m training.pipeline --events -` is what the worker runs: one JSON object a line on standard output.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from filelock import FileLock, Timeout

from contracts.errors import ConfigError, StarsError
from contracts.installation import ROOT
from contracts.stages import StageConfig
from contracts.store.urls import open_store
from training.judge.report import counted
from training.running.folder import FACTS, check_folder
from training.running.interrupt import AGAIN, INTERRUPTED, interruptible
from training.running.reporting import JsonLines, Listener, PlainLines, StageReporter
from training.running.stage import Stage, execute, load_config
from training.tracking.curves import Curves

PRESETS = ROOT / "training" / "presets"

# Each stage, the stages whose folders it reads, and its share of the whole time for the progress figure.
PLAN: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("prepare", (), 0.10),
    ("train", ("prepare",), 0.70),
    ("convert", ("prepare", "train"), 0.05),
    ("evaluate", ("prepare", "convert"), 0.10),
    ("export", ("prepare", "train", "convert", "evaluate"), 0.05),
)


# What a finished run holds that is in the release now, or that nothing reads any more.
SPENT = (
    *(f"prepare/{split}" for split in ("train", "validation", "test")),
    *(
        "train/checkpoints",
        "train/features-*.npy",
        "train/epoch-*",
        "train/model",
        "convert/model.safetensors",
        "export/release",
    ),
)


@dataclass(frozen=True)
class Run:
    """What a pipeline is asked to do. `overrides` are flags such as {"train": {"epochs": 2}}."""

    data: tuple[Path, ...]
    preset: str
    store: str
    work: Path
    name: str = "review-stars"
    config_file: Path | None = None
    overrides: Mapping[str, Mapping[str, Any]] | None = None


def presets() -> list[str]:
    """The names that `--preset` takes."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def run(request: Run, listener: Listener) -> dict[str, dict[str, Any]]:
    """Run every stage that is not done. Returns the facts of each, by name.

    Raises ConfigError before any work when a setting of any stage is wrong, when a stage's folder holds what it did not
    make, when the store cannot be used, or when another run uses the work folder; StoreError when the store cannot be
    written.
    """
    stages = {name: cast(Stage, importlib.import_module(f"training.stages.{name}")) for name, _, _ in PLAN}
    configs = _configs(request, stages)
    for name in stages:
        check_folder(request.work / name, name)
    open_store(request.store).check_writable()
    try:
        request.work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{request.work} cannot be made ({error.strerror}): choose another --work") from error
    lock = FileLock(request.work / ".pipeline.lock")
    try:
        with lock.acquire(timeout=0):
            return _run(request, stages, configs, listener)
    except Timeout:
        raise ConfigError(f"another pipeline works in {request.work}: wait for it, or choose another --work") from None


def _run(
    request: Run, stages: Mapping[str, Stage], configs: Mapping[str, StageConfig], listener: Listener
) -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = {}
    before = 0.0
    for name, needs, share in PLAN:
        listener.stage(name)
        inputs = {need: request.work / need for need in needs}
        if not needs:
            inputs = {f"data{i}": path for i, path in enumerate(request.data)}
        still_holds = getattr(stages[name], "is_published", None)
        with Curves(configs[name], request.work / name) as curves:
            report = StageReporter(name, [listener, curves], before, share)
            facts[name] = execute(stages[name], configs[name], inputs, request.work / name, report, still_holds)
        if name == "prepare":
            for line in rows_used(facts[name], request.work / name / "quarantine"):
                report.log(line)
        before += share
        report.progress(1.0, f"{name} done")
    return facts


def rows_used(prepared: Mapping[str, Any], quarantine: Path) -> list[str]:
    """What became of the rows: how many were read, put in quarantine and why, and left out by balancing."""
    splits, config = prepared["splits"], prepared["config"]
    good, used = (sum(split[what] for split in splits.values()) for what in ("available", "rows"))
    bad = prepared["quarantined"]
    why = f" ({counted(prepared['reasons'])}): see {quarantine}" if bad else ""
    lines = [f"{prepared['rows_in']:,} rows read, {bad:,} of them in quarantine{why}"]
    if config["limit"] is not None:
        lines.append(f"{used:,} of {good:,} good rows used: prepare.limit is {config['limit']:,}")
    elif used < good:
        lines.append(
            f"{used:,} of {good:,} good rows used after balancing the stars; "
            f"--set prepare.max_ratio={2 * config['max_ratio']:g} uses more of the train split"
        )
    return lines


def tidy(work: Path) -> None:
    """Delete a finished run's rows, weights and checkpoints, hundreds of megabytes of them.

    Facts, reports, curves and the quarantine stay, and with the facts the stages stay finished.
    """
    finished = [pattern for pattern in SPENT if (work / pattern.partition("/")[0] / FACTS).is_file()]
    for path in (found for pattern in finished for found in work.glob(pattern)):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _configs(request: Run, stages: Mapping[str, Stage]) -> dict[str, StageConfig]:
    preset = PRESETS / f"{request.preset}.yaml"
    if request.preset not in presets():
        raise ConfigError(f"there is no preset {request.preset!r}: choose one of {', '.join(presets())}")
    layers = [_sections(preset, stages)]
    if request.config_file is not None:
        layers.append(_sections(request.config_file, stages))
    overrides = request.overrides or {}
    if unknown := set(overrides) - set(stages):
        raise ConfigError(f"there is no stage {', '.join(sorted(unknown))}: choose from {', '.join(stages)}")
    given = {"name": request.name, "store": request.store}
    configs: dict[str, StageConfig] = {}
    for name, stage in stages.items():
        values: dict[str, Any] = {}
        for layer in layers:
            values |= layer.get(name, {})
        values |= {key: value for key, value in given.items() if key in stage.Config.model_fields}
        configs[name] = cast(StageConfig, load_config(stage.Config, name, defaults=values, flags=overrides.get(name)))
    return configs


def _sections(file: Path, stages: Mapping[str, Stage]) -> dict[str, dict[str, Any]]:
    try:
        loaded = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read as YAML: {error}") from error
    if not isinstance(loaded, dict) or not all(isinstance(part, dict) for part in loaded.values()):
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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m training.pipeline", description=__doc__)
    parser.add_argument("--data", action="append", required=True, type=Path, help="file or folder; repeat for more")
    parser.add_argument("--preset", default="standard", help=f"one of {', '.join(presets())}")
    parser.add_argument("--store", required=True, help="URL or folder of the release store")
    parser.add_argument("--work", required=True, type=Path, help="folder for every stage's artifacts")
    parser.add_argument("--name", default="review-stars", help="name of the release")
    parser.add_argument("--config", type=Path, help="YAML file with settings by stage")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.FIELD=VALUE", help="one setting")
    parser.add_argument("--events", choices=["-"], help="write JSON events to standard output")
    args = parser.parse_args()
    events = JsonLines(sys.stdout) if args.events else None
    if events is not None:
        sys.stdout = sys.stderr  # what a library prints must not stand between the events
    listener = events or PlainLines()
    try:
        with interruptible(listener.log):
            request = Run(
                data=tuple(args.data),
                preset=args.preset,
                store=args.store,
                work=args.work,
                name=args.name,
                config_file=args.config,
                overrides=parse_overrides(args.set),
            )
            facts = run(request, listener)
    except StarsError as error:
        sys.stderr.write(f"error: {error}\n")
        if events is not None:
            events.emit("error", message=str(error))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{AGAIN}\n")
        return INTERRUPTED
    if events is not None:
        events.emit("done", version=facts["export"]["version"], facts=summary(facts))
    return 0


def summary(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a job keeps of a run: the verdict and the figures, not every stage's details."""
    evaluated, prepared = facts["evaluate"], facts["prepare"]
    kept = {name: evaluated[name] for name in ("metrics", "verdict", "reason") if name in evaluated}
    return kept | {
        "rows_in": prepared["rows_in"],
        "quarantined": prepared["quarantined"],
        "seconds": {name: part["seconds"] for name, part in facts.items()},
    }
