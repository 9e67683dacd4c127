"""Sources into a data set: each is read once, and what was finished stays finished, whatever ends the rest.

    <folder>/.ingest/begun/<source>/            what is being made of a source, a folder a part
    <folder>/.ingest/finished/<source>.json     a finished source, as the data card has it

A source's files are moved into the data set when all of them are there, over those of an earlier version of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contracts.data_set import WORK
from contracts.errors import DataError
from contracts.stages import IngestConfig
from training.data.dataset import QUARANTINE, REVIEWS
from training.ingest.card import FINISHED, FORMAT, card, entry_of, finished, location
from training.ingest.part import Part, PartFacts
from training.ingest.processes import run_parts
from training.ingest.reading import Reading
from training.ingest.recognise import recognise
from training.ingest.sources import SourceFile, find_files, named, prefix, survey
from training.ingest.stars import RULES
from training.running.folder import FACTS, write_whole
from training.running.reporting import Reporter

BEGUN = f"{WORK}/begun"
MOVING = "moving"
"""The file that stands in a source's folder while its files are moved."""

_SURVEYED = 0.1
"""Hashing's share of the time."""


@dataclass(frozen=True)
class _Work:
    """A source that is to be read, and what stands for it and the settings that decide what comes of it."""

    source: SourceFile
    reading: Reading
    key: str

    def parts(self, folder: Path) -> list[Part]:
        begin = prefix(self.source.name)
        return [
            Part(
                str(self.source.path), self.source.name, self.reading, cut,
                str(folder / BEGUN / begin / str(number)), f"{begin}-{number}",
            )
            for number, cut in enumerate(self.source.cuts)
        ]  # fmt: skip


def ingest(data: Sequence[str | Path], folder: Path, config: IngestConfig, report: Reporter) -> dict[str, Any]:
    """Add files of reviews to the data set in `folder`, which may be empty. Returns its facts: the data card.

    A source that is in it, unchanged, is skipped; one that has changed replaces what was in it. Raises DataError for a
    source that cannot be read, MachineError for a full disk.
    """
    for state in (BEGUN, FINISHED):
        (folder / state).mkdir(parents=True, exist_ok=True)
    known = finished(folder)
    places = {path: location(path) for path in find_files(data)}
    files = named(places, {entry["file"]: entry["location"] for entry in known.values()})
    work = []
    for each in _surveyed(files, config, report):
        name = each.source.name
        twin = next((other for other, entry in known.items() if entry["sha256"] == each.source.sha256), None)
        if name in known and known[name]["key"] == each.key:
            report.log(f"{name}: unchanged, skipped")
        elif twin is not None and name not in known:
            report.log(f"{name}: skipped, it is byte for byte {twin}, which is in the data set")
        else:
            report.log(f"{name}: {_said(each.reading)}")
            work.append(each)
    _read(work, folder, config, report)
    return card(folder)


def _surveyed(files: Mapping[str, Path], config: IngestConfig, report: Reporter) -> list[_Work]:
    total = sum(path.stat().st_size for path in files.values()) or 1
    done, told, work = 0, 0.0, []

    def read(size: int) -> None:
        nonlocal done, told
        done += size
        if time.monotonic() > told + 1:
            told = time.monotonic()
            report.progress(_SURVEYED * done / total, f"looking at {len(files)} sources, {done / total:.0%}")

    for name, path in files.items():
        reading = recognise(path, config)
        source = survey(name, path, reading, read)
        decides = [source.sha256, asdict(reading), FORMAT]
        key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
        work.append(_Work(source, reading, key))
    return work


def _read(work: Sequence[_Work], folder: Path, config: IngestConfig, report: Reporter) -> None:
    """Read what is left of the sources, on all cores, and put each into the data set when its last part is done."""
    left: dict[str, set[int]] = {}
    parts: list[tuple[_Work, int, Part, int]] = []
    for each in work:
        _begin(each, folder)
        for number, part in enumerate(each.parts(folder)):
            if not Path(part.folder, "facts.json").is_file():
                left.setdefault(each.source.name, set()).add(number)
                size = (part.cut.end or each.source.size) - part.cut.start
                shutil.rmtree(part.folder, ignore_errors=True)
                Path(part.folder).mkdir()
                parts.append((each, number, part, size))
    for each in work:
        if each.source.name not in left:
            _publish(each, folder, config)
    speed = _Speed(sum(size for *_, size in parts), report)
    for at, facts in run_parts([part for _, _, part, _ in parts], [size for *_, size in parts], speed.told):
        each, number, part, size = parts[at]
        speed.told(at, size, facts.rows)
        write_whole(Path(part.folder, "facts.json"), json.dumps(asdict(facts)))
        left[each.source.name].discard(number)
        if not left[each.source.name]:
            _publish(each, folder, config)


class _Speed:
    """How far it is, how fast, and how long it will take."""

    def __init__(self, total: int, report: Reporter) -> None:
        self._total, self._report = max(total, 1), report
        self._parts: dict[int, tuple[int, int]] = {}
        self._began, self._told = time.monotonic(), 0.0

    def told(self, part: int, done: int, rows: int) -> None:
        self._parts[part] = done, rows
        now = time.monotonic()
        if now < self._told + 1:
            return
        self._told = now
        done, rows = (sum(each[what] for each in self._parts.values()) for what in (0, 1))
        share, seconds = min(done / self._total, 1.0), max(now - self._began, 1e-9)
        left = f", {_duration(seconds * (1 - share) / share)} left" if share > 0.01 and seconds > 2 else ""
        self._report.progress(
            _SURVEYED + (1 - _SURVEYED) * share, f"{rows:,} rows, {rows / seconds:,.0f} a second{left}"
        )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _begin(work: _Work, folder: Path) -> None:
    """Make room for a source, unless an interrupted run has begun the same work."""
    place = folder / BEGUN / prefix(work.source.name)
    begun = place / "begun"
    if not begun.is_file() or begun.read_text(encoding="utf-8") != work.key:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        write_whole(begun, work.key)


def _publish(work: _Work, folder: Path, config: IngestConfig) -> None:
    """Move a source's files into the data set. Interrupted at any moment it can be done again."""
    work.source.check_unchanged()
    begin = prefix(work.source.name)
    place = folder / BEGUN / begin
    whole = PartFacts()
    for part in work.parts(folder):
        whole.add(PartFacts(**json.loads(Path(part.folder, "facts.json").read_text(encoding="utf-8"))))
    if whole.rows == 0:
        shutil.rmtree(place)
        raise DataError(f"{work.source.name} holds no reviews: there is no row in it")
    (folder / FACTS).unlink(missing_ok=True)  # who reads a data set begins there
    if not (place / MOVING).is_file():
        _remove(folder, begin)
        write_whole(place / MOVING, "")
    for file in [*place.glob(f"*/{REVIEWS}/*/*.parquet"), *place.glob(f"*/{QUARANTINE}/*.parquet")]:
        target = folder / Path(*file.relative_to(place).parts[1:])
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    for kind in (REVIEWS, QUARANTINE):
        (folder / kind).mkdir(exist_ok=True)
    entry = entry_of(work.source, work.reading, work.key, whole, config)
    write_whole(folder / FINISHED / f"{begin}.json", json.dumps(entry))
    shutil.rmtree(place)


def _remove(folder: Path, begin: str) -> None:
    """Delete the files of a source, of whichever version."""
    own = re.compile(rf"{re.escape(begin)}-\d+-\d+\.parquet")
    for file in [*folder.glob(f"{REVIEWS}/*/*.parquet"), *folder.glob(f"{QUARANTINE}/*.parquet")]:
        if own.fullmatch(file.name):
            file.unlink()
    (folder / FINISHED / f"{begin}.json").unlink(missing_ok=True)


def _said(reading: Reading) -> str:
    """What a source was taken for, in a sentence."""
    columns = ", ".join(f"{ours}={theirs}" for ours, theirs in reading.named)
    how = f"its columns are {columns}" if reading.named else f"the layout {reading.layout}"
    return f"{how}; {RULES[reading.scale]}" + (f"; the category is {reading.category}" if reading.category else "")
