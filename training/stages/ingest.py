"""Reviews of any known layout to one typed data set with its quarantine and its card: training/data/dataset.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.stages import IngestConfig
from training.ingest.card import check_reviews
from training.ingest.lake import ingest
from training.judge.report import counted
from training.running.reporting import Reporter
from training.running.stage import Stage

Config = IngestConfig


def run(config: Config, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]:
    """Inputs `data*`: files of reviews, or folders of them. Writes the data set.

    Raises DataError for a source that cannot be read, and when no row is good.
    """
    facts = ingest(list(inputs.values()), outputs, config, report)
    check_reviews(facts, outputs)
    return facts


def rows_read(facts: Mapping[str, Any], quarantine: Path) -> list[str]:
    """How many rows were read, put in quarantine and why."""
    bad = facts["quarantined"]
    why = f" ({counted(facts['reasons'])}): see {quarantine}" if bad else ""
    return [f"{facts['rows_in']:,} rows read, {bad:,} of them in quarantine{why}"]


STAGE = Stage(
    name="ingest",
    config=Config,
    run=run,
    reads=("data",),
    share=0.03,
    spent=("reviews", ".ingest"),
    remarks=lambda facts, outputs: rows_read(facts, outputs / "quarantine"),
)
