"""The pipeline as data: its stages in the order in which they run, by what each declares to come after."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

from training.running.folder import FACTS
from training.running.stage import Stage

NAMES = (
    "ingest",
    "quality",
    "prepare",
    "train",
    "convert",
    "evaluate",
    "export",
)
"""The stages that there are, each a file of that name in training/stages/."""


@cache
def plan() -> Mapping[str, Stage]:
    """Every stage by name, each after those that it needs. Loads no framework: stages import theirs when they run."""
    return in_order(import_module(f"training.stages.{name}").STAGE for name in NAMES)


def in_order(stages: Iterable[Stage]) -> dict[str, Stage]:
    """Stages by name, each after those that it needs or waits for, which must be among them; else as they were given.

    Raises graphlib.CycleError when they need each other, KeyError when one that is needed is not there.
    """
    by_name = {stage.name: stage for stage in stages}
    needs = {name: (*stage.needs, *stage.after) for name, stage in by_name.items()}
    return {name: by_name[name] for name in TopologicalSorter(needs).static_order()}


def tidy(work: Path) -> None:
    """Delete what the finished stages of a run declare as spent: rows, weights, checkpoints, hundreds of megabytes.

    Facts, reports, curves and the quarantine stay, and with the facts the stages stay finished.
    """
    for name, stage in plan().items():
        folder = work / name
        if not (folder / FACTS).is_file():
            continue
        for path in (path for pattern in stage.spent for path in folder.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
