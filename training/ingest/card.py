"""The data card: where each source of a data set came from, and what became of it; and the sums over them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contracts.data_set import WORK
from contracts.errors import DataError
from contracts.stages import IngestConfig
from training.data.dataset import QUARANTINE
from training.ingest.part import PartFacts
from training.ingest.reading import Reading
from training.ingest.remote.origin import origin_of
from training.ingest.sources import SourceFile
from training.ingest.stars import RULES

FINISHED = f"{WORK}/finished"
FORMAT = 1
"""Counted up when the same source would give other rows, so that data sets are made anew."""

_OURS = ("key", "asked", "validator")
"""What an entry holds besides, by which it is known whether a source must be read again."""


def card(folder: Path) -> dict[str, Any]:
    """The facts of a data set: its sources and the sums over them."""
    sources = [entry for _, entry in sorted(finished(folder).items())]
    whole = PartFacts()
    for entry in sources:
        whole.add(PartFacts(entry["rows"], entry["quarantined"], entry["reasons"], entry["categories"]))
    return {
        "rows_in": whole.rows,
        "reviews": whole.reviews,
        "quarantined": whole.quarantined,
        "reasons": whole.reasons,
        "categories": dict(sorted(whole.categories.items())),
        "sources": [{name: value for name, value in entry.items() if name not in _OURS} for entry in sources],
        "dataset_sha256": hashlib.sha256("".join(sorted(each["sha256"] for each in sources)).encode()).hexdigest(),
    }


def check_reviews(facts: Mapping[str, Any], folder: Path) -> None:
    """Raises DataError for a data set in which no row is good."""
    if facts["reviews"] == 0:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in facts["reasons"].items()) or "there are none"
        raise DataError(f"all {facts['quarantined']} rows are bad ({reasons}): see {folder / QUARANTINE}")


def entry_of(source: SourceFile, reading: Reading, key: str, facts: PartFacts, config: IngestConfig) -> dict[str, Any]:
    """What the data card says of a source, and by what it is known again."""
    origin = origin_of(source.path)
    return {
        "file": source.name,
        "location": location(source.path),
        "sha256": source.sha256,
        "bytes": source.size,
        "rows": facts.rows,
        "reviews": facts.reviews,
        "quarantined": facts.quarantined,
        "reasons": facts.reasons,
        "categories": facts.categories,
        "layout": reading.layout,
        "columns": dict(reading.named),
        "scale": RULES[reading.scale],
        "licence": config.licence,
        "downloaded": origin.downloaded if origin else "",
        "ingested": datetime.now(UTC).isoformat(timespec="seconds"),
        "key": key,
        "asked": asked(config),
        "validator": origin.validator if origin else "",
    }


def finished(folder: Path) -> dict[str, dict[str, Any]]:
    """What is known of each source that is in a data set, by its name."""
    entries = [json.loads(file.read_text(encoding="utf-8")) for file in (folder / FINISHED).glob("*.json")]
    return {entry["file"]: entry for entry in entries}


def identity(folder: Path) -> str:
    """Other reviews, another identity: what a stage that reads the data set is fingerprinted by."""
    keys = sorted((name, entry["key"]) for name, entry in finished(folder).items())
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()


def asked(config: IngestConfig) -> str:
    """Stands for the settings that decide what becomes of a source."""
    decides = config.model_dump(mode="json", exclude={"licence"}) | {"format": FORMAT}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def location(path: Path) -> str:
    """Where a source lies: its URL where it was downloaded."""
    origin = origin_of(path)
    return origin.url if origin else str(path)
