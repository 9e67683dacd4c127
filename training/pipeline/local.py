"""The whole pipeline on this machine. Unchanged stages are skipped, one that was cut off goes on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from contracts.errors import ConfigError, StarsError
from contracts.stages import StageConfig, TrackedConfig
from contracts.store.urls import open_store
from training.ingest.sources import sole_data_set
from training.package.identity import code_revision
from training.pipeline.data_set import data_set_facts, sources_here
from training.pipeline.patience import patiently
from training.pipeline.plan import plan
from training.pipeline.request import Run, configurations
from training.report.run_folder import LeftRun
from training.report.training import write_report
from training.running.execution import execute
from training.running.folder import check_folder
from training.running.reporting import Listener, StageReporter
from training.running.stage import Stage
from training.tracking.curves import Curves
from training.tracking.outcome import final_metrics, parameters, tags
from training.tracking.tracker import REVISION_TAG


def run(request: Run, listener: Listener) -> dict[str, dict[str, Any]]:
    """Run every stage that is not done. Returns the facts of each, by name.

    Raises ConfigError before any work when a setting of any stage is wrong, when a stage's folder holds what it did not
    make, when the store cannot be used, or when another run uses the work folder; StoreError when the store cannot be
    written, or is away for longer than the request's patience.
    """
    stages = plan()
    configs = configurations(request, {name: stage.config for name, stage in stages.items()})
    folders, given = stage_folders(request), sole_data_set(request.data)
    for name, folder in folders.items():
        if folder != given:
            check_folder(folder, name)
    store, first = open_store(request.store), next(iter(stages))
    patiently(store.check_writable, request.patience, lambda words: listener.progress(first, 0.0, words))
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
    folders, given = stage_folders(request), sole_data_set(request.data)
    facts: dict[str, dict[str, Any]] = {}
    whole = sum(stage.share for stage in stages.values())
    before = 0.0
    tracked = next(name for name, config in configs.items() if isinstance(config, TrackedConfig))
    with Curves(configs[tracked], folders[tracked], request.work.absolute().name, parameters(configs)) as curves:
        curves.know({REVISION_TAG: code_revision()})
        for name, stage in stages.items():
            listener.stage(name)
            outputs, share = folders[name], stage.share / whole
            report = StageReporter(name, [listener, curves], before, share)
            if outputs == given:
                facts[name] = data_set_facts(outputs, configs[name], report)
            else:
                inputs = {need: folders[need] for need in stage.needs}
                inputs |= sources_here(request.data, request.work, listener) if "data" in stage.reads else {}
                work = partial(execute, stage, configs[name], inputs, outputs, report)
                facts[name] = patiently(work, request.patience, partial(report.progress, 0.0))
            report.progress(1.0, f"{name} done")
            curves.know(tags(facts))
            before += share
        page = _report(request.work, listener)
        curves.conclude(final_metrics(facts), [page, folders["evaluate"] / "report.md"])
    return facts


def _report(work: Path, listener: Listener) -> Path:
    """The page about the run, in its work folder. A run whose release is out does not fail for want of one."""
    page = work / "report.html"
    try:
        write_report(LeftRun.read(work), page)
    except StarsError as error:
        listener.log(f"there is no report of this run: {error}")
    return page


def stage_folders(request: Run) -> dict[str, Path]:
    """Where each stage's artifacts lie: in the work folder, but for a data set that takes the place of a stage's."""
    given = sole_data_set(request.data)
    return {name: given if given and "data" in stage.reads else request.work / name for name, stage in plan().items()}


def summary(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a job keeps of a run: what its stages declare as their summary, and how long each took."""
    kept = {fact: facts[name][fact] for name, stage in plan().items() for fact in stage.summary if fact in facts[name]}
    return kept | {"seconds": {name: part["seconds"] for name, part in facts.items()}}
