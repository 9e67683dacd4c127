"""The runs that a tracking store keeps, for people who look back at them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError
from training.tracking.tracker import (
    DATASET_TAG,
    EXPERIMENT,
    FORMAT,
    FORMAT_TAG,
    NOTES,
    RELEASE_TAG,
    REVISION_TAG,
    VERDICT_TAG,
    failures,
    open_tracking,
    why,
)

SHORT = 8
"""Characters of an id that people are shown."""
SEARCHED = 1000
"""The newest runs, among which one is looked for."""


@dataclass(frozen=True)
class TrackedRun:
    """A run as it was kept. What is not known of it is empty."""

    id: str
    name: str
    started: datetime
    state: str
    parameters: dict[str, str]
    metrics: dict[str, float]
    """The last value of each curve, and what the test split says."""
    tags: dict[str, str]

    @property
    def short(self) -> str:
        return self.id[:SHORT]

    @property
    def release(self) -> str:
        return self.tags.get(RELEASE_TAG, "")

    @property
    def dataset(self) -> str:
        return self.tags.get(DATASET_TAG, "")

    @property
    def revision(self) -> str:
        return self.tags.get(REVISION_TAG, "")

    @property
    def verdict(self) -> str:
        return self.tags.get(VERDICT_TAG, "")

    @property
    def notes(self) -> str:
        return self.tags.get(NOTES, "")

    def document(self) -> dict[str, Any]:
        """All of it as JSON holds it; a value that is no number is null."""
        metrics = {name: value if math.isfinite(value) else None for name, value in self.metrics.items()}
        return asdict(self) | {"started": self.started.isoformat(), "metrics": metrics, "release": self.release}


class Runs:
    """The runs of one tracking store. All of it raises ConfigError where the store cannot be read."""

    def __init__(self, uri: str) -> None:
        self._place = re.sub(r"//[^@/]*@", "//", uri)  # without a password
        with self._readable():
            file = Path(uri.removeprefix("sqlite:///"))
            if uri.startswith("sqlite:///") and not file.is_file():  # which MLflow would make
                raise ConfigError(f"no run is kept in {file} yet: train something, or name another with --tracking")
            self._client = open_tracking(uri)
            found = self._client.get_experiment_by_name(EXPERIMENT)
        self._experiments = [found.experiment_id] if found is not None else []

    def newest(self, limit: int) -> list[TrackedRun]:
        """The newest first."""
        if not self._experiments:
            return []
        with self._readable():
            found = self._client.search_runs(self._experiments, max_results=limit, order_by=["start_time DESC"])
        return [_tracked(each) for each in found]

    def find(self, said: str) -> TrackedRun:
        """The run with this id or the beginning of one, this release, or the newest of this name.

        Raises ConfigError where there is none, with the nearest, and for a run of a newer version.
        """
        runs = self.newest(SEARCHED)
        found = [run for run in runs if said in (run.id, run.release)] or [run for run in runs if run.name == said][:1]
        found = found or [run for run in runs if len(said) > 1 and run.id.startswith(said)]
        if len(found) > 1:
            raise ConfigError(f"{len(found)} runs are called {said!r}: write more of the id, stars runs ls shows it")
        if not found:
            known = {word: run for run in runs for word in (run.id, run.short, run.name, run.release) if word}
            near = [known[word] for word in get_close_matches(said, known, n=1, cutoff=0.5)]
            question = "".join(f" did you mean {run.short} ({run.name})?" for run in near)
            raise ConfigError(f"there is no run {said!r} in {self._place}:{question} stars runs ls lists them")
        if int(found[0].tags.get(FORMAT_TAG, FORMAT)) > FORMAT:
            raise ConfigError(f"run {found[0].short} was kept by a newer version of review-stars: update this one")
        return found[0]

    def curve(self, run: TrackedRun, name: str) -> list[tuple[int, float]]:
        """(step, value), steps rising. Of a step that was measured twice, after an interruption, the last."""
        with self._readable():
            points = self._client.get_metric_history(run.id, name)
        return sorted({point.step: point.value for point in sorted(points, key=lambda each: each.timestamp)}.items())

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except failures() as error:
            raise ConfigError(
                f"the runs in {self._place} cannot be read ({why(error)}): name another tracking store with --tracking"
            ) from error


def _tracked(run: Any) -> TrackedRun:
    return TrackedRun(
        id=run.info.run_id,
        name=run.info.run_name or "",
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        state=run.info.status.lower(),
        parameters=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
    )
