"""What earlier data sets measured that broke no rule, kept in a store so that every machine compares with the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from contracts.errors import Conflict, NotFound, StoreError
from contracts.release.strict_json import document_bytes, load_json
from contracts.store.protocol import ObjectStore
from contracts.validation import what_is_wrong
from training.quality.analysis import MetricName, Metrics

SCHEMA_VERSION: Final = 1
RUNS_KEPT = 50


class MeasuredRun(BaseModel):
    """One data set, as it was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    at: AwareDatetime
    engine: str
    metrics: tuple[tuple[str, str, str, float], ...]

    def named(self) -> Metrics:
        return {MetricName(*name): value for *name, value in self.metrics}


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    runs: tuple[MeasuredRun, ...] = ()


class MetricsHistory:
    """The good runs of one series, such as a model's name, the oldest first."""

    def __init__(self, store: ObjectStore, series: str) -> None:
        self._store, self._key = store, f"quality/{series}.json"

    def runs(self) -> list[Metrics]:
        """The metrics of each, the newest last.

        Raises StoreError for a history that is damaged, or that a newer version of this program has written.
        """
        return [run.named() for run in self._read()[0].runs]

    def add(self, engine: str, metrics: Metrics) -> None:
        """Keep what was measured. Raises StoreError as `runs` does."""
        measured = tuple((*name, value) for name, value in sorted(metrics.items()))
        run = MeasuredRun(at=datetime.now(UTC), engine=engine, metrics=measured)
        while True:  # a conflict means that another run was faster
            document, etag = self._read()
            data = document_bytes(_Document(runs=(*document.runs, run)[-RUNS_KEPT:]).model_dump(mode="json"))
            try:
                self._store.write(self._key, data, if_absent=etag is None, if_match=etag)
            except Conflict:
                continue
            return

    def _read(self) -> tuple[_Document, str | None]:
        where = f"the quality history {self._key} in {self._store.url}"
        try:
            stored = self._store.read(self._key)
        except NotFound:
            return _Document(), None
        try:
            loaded = load_json(stored.data)
        except ValueError as error:
            raise StoreError(f"{where} is damaged ({error}): move it away, and a new one begins") from error
        version: Any = loaded.get("schema_version") if isinstance(loaded, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise StoreError(
                f"{where} was written by a newer version of this program (schema {version}, this one reads "
                f"{SCHEMA_VERSION}): update it, or train into another store"
            )
        try:
            return _Document.model_validate(loaded), stored.etag
        except ValidationError as error:
            wrong = what_is_wrong(error, _Document, "the document")
            raise StoreError(f"{where} is damaged ({wrong}): move it away, and a new one begins") from error
