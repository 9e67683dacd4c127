"""What a run has left in its folder, for a report: facts, history and evaluation, as far as they are there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError
from training.running.folder import FACTS, read_facts
from training.tracking.history import HISTORY, History, read_history

Document = dict[str, Any]


@dataclass(frozen=True)
class LeftRun:
    """A run as it lies there. What has not come yet is None."""

    name: str
    history: History
    training: Document | None
    """The facts of train; None while it runs, or after it was cut off or stopped."""
    evaluation: Document | None
    prepared: Document | None
    release: Document | None
    prepare: Path

    @classmethod
    def read(cls, folder: Path) -> LeftRun:
        """A pipeline's work folder, or that of its stage train.

        Raises ConfigError where no training was, or where it has measured nothing yet, or for a newer version's.
        """
        train = folder if (folder / HISTORY).exists() else folder / "train"
        if not train.is_dir():
            raise ConfigError(f"{folder} holds no training: name a run's work folder, such as runs/standard")
        history = read_history(train)
        if not history.points:
            raise ConfigError(f"the training in {train} has measured nothing yet: wait for its first steps")
        work = train.absolute().parent
        return cls(
            name=work.name if train != folder or (work / "prepare").is_dir() else train.absolute().name,
            history=history,
            training=_facts(train),
            evaluation=_evaluation(work / "evaluate"),
            prepared=_facts(work / "prepare"),
            release=_facts(work / "export"),
            prepare=work / "prepare",
        )


def _facts(folder: Path) -> Document | None:
    return read_facts(folder) if (folder / FACTS).is_file() else None


def _evaluation(folder: Path) -> Document | None:
    """The report of evaluate, which it writes before it decides. None for one that was cut off while it was written."""
    try:
        return dict(json.loads((folder / "report.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
