"""Data as pipelines and commands are given it: a data set, taken as it is, or sources, which are brought here first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError
from contracts.review import TSV_COLUMNS
from contracts.stages import IngestConfig, StageConfig
from training.data.dataset import QUARANTINE, REVIEWS_TSV, read_card
from training.ingest.card import check_reviews
from training.ingest.recognise import recognise
from training.ingest.remote.download import bring_here
from training.ingest.sources import find_files, sole_data_set
from training.running.execution import execute
from training.running.reporting import Listener, Reporter, StageReporter
from training.stages import ingest

SOURCES = "sources"
"""What was downloaded, in a run's work folder."""


def sources_here(data: Sequence[str | Path], work: Path, listener: Listener) -> dict[str, Path]:
    """Every file of the data as an input of the stage that reads it. Raises DataError for one that is not there."""
    report = StageReporter("download", [listener], share=0.0)
    files = find_files(bring_here(data, work / SOURCES, report))
    return {f"data{number}": file for number, file in enumerate(files)}


def data_set_facts(folder: Path, config: StageConfig, report: Reporter) -> dict[str, Any]:
    """The facts of a data set in the place of those of the stage that would have made it.

    Raises DataError for one that is not finished or holds no review, ConfigError for settings that are too late.
    """
    if config.model_dump(exclude={"licence"}) != IngestConfig().model_dump(exclude={"licence"}):
        raise ConfigError(
            f"{folder} is a data set, whose columns were named when it was made: leave --columns and the settings of "
            "ingest away, or name its sources"
        )
    facts = read_card(folder)
    check_reviews(facts, folder)
    report.log(f"{folder} is a data set, taken as it is")
    for line in ingest.rows_read(facts, folder / QUARANTINE):
        report.log(line)
    return facts | {"seconds": 0.0}


def data_set_of(data: Sequence[str | Path], config: IngestConfig, scratch: Path, listener: Listener) -> Path:
    """The folder of a data set; of sources one is made in `scratch`.

    Raises ConfigError for a data set beside other data, and what the stage ingest raises.
    """
    if (given := sole_data_set(data)) is not None:
        return given
    listener.stage(ingest.STAGE.name)
    folder = scratch / ingest.STAGE.name
    inputs = sources_here(data, scratch, listener)
    execute(ingest.STAGE, config, inputs, folder, StageReporter(ingest.STAGE.name, [listener]))
    _link_tsv(inputs.values(), config, folder / REVIEWS_TSV)
    listener.log("this data set is for this command only: stars data fetch makes one that stays")
    return folder


def _link_tsv(files: Iterable[Path], config: IngestConfig, folder: Path) -> None:
    """The sources that an external table can read as they lie."""
    folder.mkdir()
    for number, path in enumerate(files):
        found = recognise(path, config)
        if (found.kind, found.columns) == ("tsv", TSV_COLUMNS):
            (folder / f"{number}-{path.name}").symlink_to(path)
