"""Data as commands are given it: a data set as it is, or sources, of which one is made in a scratch folder first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from contracts.errors import ConfigError
from contracts.review import TSV_COLUMNS
from contracts.stages import IngestConfig
from training.data.dataset import REVIEWS, REVIEWS_TSV
from training.ingest.recognise import recognise
from training.ingest.sources import find_files
from training.running.execution import execute
from training.running.reporting import Listener, StageReporter
from training.stages import ingest


def data_set_of(data: Sequence[Path], config: IngestConfig, scratch: Path, listener: Listener) -> Path:
    """The folder of the data set.

    Raises ConfigError for a data set beside other data, and what the stage ingest raises.
    """
    given = [path for path in data if (path / REVIEWS).is_dir()]
    if given and len(data) > 1:
        raise ConfigError(f"{given[0]} is a data set: name it alone, or add the sources to it with stars data fetch")
    if given:
        return given[0]
    listener.stage(ingest.STAGE.name)
    folder = scratch / ingest.STAGE.name
    inputs = {f"data{number}": path for number, path in enumerate(data)}
    execute(ingest.STAGE, config, inputs, folder, StageReporter(ingest.STAGE.name, [listener]))
    _link_tsv(data, config, folder / REVIEWS_TSV)
    return folder


def _link_tsv(data: Sequence[Path], config: IngestConfig, folder: Path) -> None:
    """The sources that an external table can read as they lie."""
    folder.mkdir()
    for number, path in enumerate(find_files(data)):
        found = recognise(path, config)
        if (found.kind, found.columns) == ("tsv", TSV_COLUMNS):
            (folder / f"{number}-{path.name}").symlink_to(path)
