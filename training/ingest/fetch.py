"""Sources, near or far, into a data set that stays: `stars data fetch`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from contracts.data_set import WORK, is_data_set
from contracts.errors import ConfigError, MachineError
from contracts.stages import IngestConfig
from training.data.dataset import REVIEWS_TSV
from training.ingest.card import asked, card, check_reviews, finished, identity
from training.ingest.lake import BEGUN, MOVING, ingest
from training.ingest.remote.download import bring_here, forget
from training.ingest.remote.file import Broken, RemoteFile
from training.ingest.tsv import write_tsv
from training.running.folder import FACTS, write_whole
from training.running.reporting import Listener, Reporter, StageReporter

DOWNLOADS = f"{WORK}/downloads"
STAGE = "ingest"
"""Whose folder a data set is: pipelines read it as what that stage has made."""


def fetch(
    data: Sequence[str | Path], folder: Path, config: IngestConfig, listener: Listener, tsv: bool = False
) -> dict[str, Any]:
    """Make a data set of sources, or add them to one. Returns its card, which is its facts.json.

    What was finished stays in it, whatever ends the rest; the same call goes on. With `tsv`, and wherever there is TSV
    already, that is brought up to date too. Raises ConfigError for a folder that is something else or that another
    process fills, DataError for a source that cannot be read or where no row is good, MachineError for want of disk.
    """
    began = time.monotonic()
    try:
        with _filling(folder):
            try:
                with _step("download", listener) as report:
                    here = bring_here(data, folder / DOWNLOADS, report, _known(folder, config))
                with _step(STAGE, listener) as report:
                    if here:
                        ingest(here, folder, config, report)
                if tsv or (folder / REVIEWS_TSV).is_dir():
                    with _step("tsv", listener) as report:
                        write_tsv(folder, report)
                forget(folder / DOWNLOADS)
            finally:
                facts = _write_facts(folder, time.monotonic() - began)
    except OSError as error:
        raise MachineError(
            f"{folder} cannot be written: {error.strerror or error}. Free some space or choose another folder with "
            "--to, then run it again: it goes on where it was"
        ) from error
    check_reviews(facts, folder)
    return facts


@contextmanager
def _step(name: str, listener: Listener) -> Iterator[Reporter]:
    listener.stage(name)
    report = StageReporter(name, [listener])
    yield report
    report.progress(1.0, "done")


@contextmanager
def _filling(folder: Path) -> Iterator[None]:
    """A folder that is a data set or becomes one, and is filled by nobody else meanwhile."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: name another one with --to")
    if folder.is_dir() and any(folder.iterdir()) and not is_data_set(folder):
        raise ConfigError(f"{folder} holds other things than a data set: name another folder with --to")
    (folder / WORK).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / WORK / "lock").acquire(timeout=0):
            yield
    except Timeout:
        raise ConfigError(f"{folder} is being filled by another process: wait for it") from None


def _known(folder: Path, config: IngestConfig) -> Callable[[RemoteFile], bool]:
    """Whether a file elsewhere is in the data set already, read with these settings, and has not changed since."""
    entries = {entry["location"]: entry for entry in finished(folder).values()}

    def known(file: RemoteFile) -> bool:
        entry = entries.get(file.url, {})
        if not entry.get("validator") or entry.get("asked") != asked(config):
            return False
        if file.sha256 and file.sha256 != entry["sha256"]:
            return False
        try:
            with file.open(0, entry["validator"]) as answer:
                return answer is None
        except Broken:
            return False

    return known


def _write_facts(folder: Path, seconds: float) -> dict[str, Any]:
    """The card as a finished stage's facts. There are none while files of a source are moved, or were when it ended."""
    facts = card(folder) | {"stage": STAGE, "fingerprint": identity(folder), "seconds": round(seconds, 1)}
    if facts["sources"] and not any((folder / BEGUN).glob(f"*/{MOVING}")):
        write_whole(folder / FACTS, json.dumps(facts, indent=2, sort_keys=True) + "\n")
    return facts
